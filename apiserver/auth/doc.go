// Package auth decides who a request comes from and what it may do.
//
// Identity is a client certificate of the cluster's authority (common name = user, organizations = groups);
// anonymous requests reach only the version and health paths. What somebody may do is asked in this order: whom agents obey may do
// nothing; system:masters everything, roles or none, so that no broken role locks the administrator out; what is public and what is
// a node's is a table here, since only the pods of a node tell what it needs; everything else is roles (package rbac).
package auth
