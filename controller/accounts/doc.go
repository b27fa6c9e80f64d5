// Package accounts keeps what every namespace has for its pods, the service account default and the ConfigMap with the certificate of the
// cluster's authority, and puts tokens of service accounts into the Secrets that ask for one.
package accounts
