// Package cluster runs a private PostgreSQL cluster: one data directory, one
// server process, reachable over a unix socket alone. `picloud dev` and the tests
// use it; it never touches a cluster that it did not create. Linux only.
package cluster
