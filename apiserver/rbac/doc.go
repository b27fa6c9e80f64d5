// Package rbac is upstream's role based access control over the objects of this API: who may do what by roles and bindings, the
// policy that every cluster begins with, and what keeps it. The policy is upstream's with what is ours added (ours.go). It is
// written to an empty store before anything reads from there, in a few transactions (seed.go), and made whole again at every
// start (reconcile.go): what somebody took away of it comes back, what somebody added stays, and an object with the annotation
// rbac.authorization.kubernetes.io/autoupdate: "false" is left alone.
package rbac
