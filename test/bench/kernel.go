package main

import (
	"errors"
	"net/netip"
	"os/exec"
	"strings"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// noticeBuffer holds the kernel's notices of a burst; the default would lose some.
const noticeBuffer = 64 << 20

// The map of the rules that leads to endpoints, see package nft.
const (
	tableName    = "fairlead"
	endpointsMap = "endpoints"
)

// commit is what the kernel has announced of a transaction on nftables.
type commit struct {
	at       time.Time
	elements int  // that came or went, of all maps
	lost     bool // the notices came faster than they were read: some before this are lost
	// endpoints are how many more elements of the endpoints map lead to an address than before; all that do, if the map was
	// made anew.
	endpoints map[netip.Addr]int
	anew      bool
}

// watchKernel calls each for every transaction that the kernel announces, until stop is called.
func watchKernel(each func(commit)) (stop func(), err error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(conn.SetReadBuffer(noticeBuffer), conn.JoinGroup(unix.NFNLGRP_NFTABLES)); err != nil {
		conn.Close()
		return nil, err
	}
	go func() {
		var c commit
		for {
			messages, err := conn.Receive()
			if errors.Is(err, unix.ENOBUFS) {
				progress("the kernel's notices came faster than they were read: some are lost")
				c = commit{lost: true}
				continue
			}
			if err != nil {
				return
			}
			now := time.Now()
			for _, m := range messages {
				if c.add(m) { // that was the last of a transaction
					c.at = now
					each(c)
					c = commit{}
				}
			}
		}
	}()
	return func() { conn.Close() }, nil
}

// add notes a message, and reports whether it ends the transaction.
func (c *commit) add(m netlink.Message) (last bool) {
	kind := int(m.Header.Type & 0xff)
	switch kind {
	case unix.NFT_MSG_NEWGEN:
		return true
	case unix.NFT_MSG_NEWSET:
		if n := noticeOf(m.Data, unix.NFTA_SET_TABLE, unix.NFTA_SET_NAME); n.isEndpoints() {
			c.endpoints, c.anew = map[netip.Addr]int{}, true
		}
	case unix.NFT_MSG_NEWSETELEM, unix.NFT_MSG_DELSETELEM:
		c.elements++
		n := noticeOf(m.Data, unix.NFTA_SET_ELEM_LIST_TABLE, unix.NFTA_SET_ELEM_LIST_SET)
		if !n.isEndpoints() || len(n.value) < 4 {
			return false
		}
		if c.endpoints == nil {
			c.endpoints = map[netip.Addr]int{}
		}
		by := 1
		if kind == unix.NFT_MSG_DELSETELEM {
			by = -1
		}
		c.endpoints[netip.AddrFrom4([4]byte(n.value))] += by
	}
	return false
}

// notice is what a message says about a map.
type notice struct {
	family     byte
	table, set string
	value      []byte // of the one element that a notice has
}

func (n notice) isEndpoints() bool {
	return n.family == unix.NFPROTO_IPV4 && n.table == tableName && n.set == endpointsMap
}

// noticeOf reads a message whose attributes for the names of table and set are as given.
func noticeOf(body []byte, table, set uint16) (n notice) {
	const header = 4 // struct nfgenmsg
	if len(body) < header {
		return n
	}
	n.family = body[0]
	eachAttribute(body[header:], func(a *netlink.AttributeDecoder) {
		switch a.Type() {
		case table:
			n.table = a.String()
		case set:
			n.set = a.String()
		case unix.NFTA_SET_ELEM_LIST_ELEMENTS:
			n.value = descend(a.Bytes(), unix.NFTA_LIST_ELEM, unix.NFTA_SET_ELEM_DATA, unix.NFTA_DATA_VALUE)
		}
	})
	return n
}

// descend returns the content of the attribute that a path of types leads to, nil if there is none.
func descend(body []byte, path ...uint16) (found []byte) {
	if len(path) == 0 {
		return body
	}
	eachAttribute(body, func(a *netlink.AttributeDecoder) {
		if a.Type() == path[0] {
			found = descend(a.Bytes(), path[1:]...)
		}
	})
	return found
}

func eachAttribute(body []byte, each func(*netlink.AttributeDecoder)) {
	a, err := netlink.NewAttributeDecoder(body)
	if err != nil {
		return
	}
	for a.Next() {
		each(a)
	}
}

// kernelChanges delivers the time of every change to nftables elements, and how to end that.
func kernelChanges() (changes chan time.Time, stop func(), err error) {
	out := make(chan time.Time, 1024)
	stop, err = watchKernel(func(c commit) {
		if c.elements == 0 {
			return
		}
		select {
		case out <- c.at:
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

// kernelHas reports whether an element of the endpoints map leads to an address. It lists the map: not for the usual case.
func kernelHas(a netip.Addr) (bool, error) {
	out, err := exec.Command("nft", "list", "map", "ip", tableName, endpointsMap).Output()
	return strings.Contains(string(out), " "+a.String()+" "), err
}
