// Package auth decides who a request comes from and what it may do.
//
// Identity is a client certificate of the cluster's authority (common name = user, organizations = groups);
// anonymous requests reach only the version and health paths. Rights are a table in code, not objects in
// the store: nothing has to be written at start, and a broken store cannot lock the administrator out.
package auth
