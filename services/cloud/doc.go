// Package cloud holds the words of PiCloud: what an app, a script, a route, an
// execution, a principal and a call are, the contracts of the data services, and
// the errors they speak. It imports the standard library alone, so that every
// other package can share these words without sharing anything else.
package cloud
