// Package fuzz sends an API server what no client should send: every served resource and subresource with every method, broken
// bodies in every encoding, patches that fit nothing, and options of nonsense. A server refuses all of it with a 4xx; an answer
// of 5xx, or none, is a finding.
//
// It works in a namespace of its own and with names of its own, so it can be pointed at a cluster that is in use.
package fuzz
