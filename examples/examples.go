// Package examples embeds the scripts that ship inside the server. The others in
// this folder are for people to start from.
package examples

import _ "embed"

// Hello is the script that a new instance has at /hello.
//
//go:embed hello.ts
var Hello string
