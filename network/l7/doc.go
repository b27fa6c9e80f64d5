// Package l7 is the L7 engine of a node: it accepts connections, ends TLS,
// reads HTTP, and sends each request where a route.Table says.
//
//	e := l7.New(l7.Config{...}, log)
//	e.Serve(table)                      // whenever there is a new one
//	e.Endpoints(service, port, list)    // whenever these change
//	stop, err := e.Listen(socket, point) // for each socket
//	e.Shutdown(ctx)
//
// The table and the endpoints are behind atomic pointers: a request sees one
// table from its head to its end, and no connection is closed because of a new
// one. Nothing here knows the API: whose endpoints and certificates names stand
// for, the engine is told.
package l7
