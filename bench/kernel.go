package main

import (
	"errors"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// noticeBuffer holds the kernel's notices of a burst; the default would lose some.
const noticeBuffer = 64 << 20

// watchKernel calls each with every change of nftables elements that the kernel announces, until stop is called.
func watchKernel(each func(at time.Time, message []byte)) (stop func(), err error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(conn.SetReadBuffer(noticeBuffer), conn.JoinGroup(unix.NFNLGRP_NFTABLES)); err != nil {
		conn.Close()
		return nil, err
	}
	go func() {
		for {
			messages, err := conn.Receive()
			if errors.Is(err, unix.ENOBUFS) {
				progress("the kernel's notices came faster than they were read: some are lost")
				continue // whoever waits for one of them says so
			}
			if err != nil {
				return
			}
			now := time.Now()
			for _, m := range messages {
				kind := m.Header.Type & 0xff
				if kind == unix.NFT_MSG_NEWSETELEM || kind == unix.NFT_MSG_DELSETELEM {
					each(now, m.Data)
				}
			}
		}
	}()
	return func() { conn.Close() }, nil
}

// kernelChanges delivers the time of every change to nftables elements, and how to end that.
func kernelChanges() (changes chan time.Time, stop func(), err error) {
	out := make(chan time.Time, 1024)
	stop, err = watchKernel(func(at time.Time, _ []byte) {
		select {
		case out <- at:
		default:
		}
	})
	return out, stop, err
}

func drain(c chan time.Time) {
	for len(c) > 0 {
		<-c
	}
}
