// Command resolver answers every question over UDP, port 53, with nothing but who asked. It stands in for the name server that the
// suite wants to run as a backend for UDP.
package main

import (
	"log"
	"net"

	"golang.org/x/net/dns/dnsmessage"
)

func main() {
	socket, err := net.ListenPacket("udp", ":53")
	if err != nil {
		log.Fatal(err)
	}
	buffer := make([]byte, 4096)
	for {
		n, from, err := socket.ReadFrom(buffer)
		if err != nil {
			log.Fatal(err)
		}
		answer, err := answer(buffer[:n], from.String())
		if err != nil {
			log.Print(err)
			continue
		}
		if _, err := socket.WriteTo(answer, from); err != nil {
			log.Print(err)
		}
	}
}

// answer is a response with a record that says who asked.
func answer(question []byte, from string) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil {
		return nil, err
	}
	m.Response = true
	m.Additionals = nil
	for _, q := range m.Questions {
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: dnsmessage.TypeTXT, Class: q.Class},
			Body:   &dnsmessage.TXTResource{TXT: []string{from}},
		})
	}
	return m.Pack()
}
