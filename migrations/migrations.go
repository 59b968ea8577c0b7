// Package migrations holds the database's schema as numbered steps of plain SQL.
//
// Steps go forward only, and an older PiCloud must run on a newer schema after
// the system was rolled back: first expand, and contract a release later. A step
// that takes away what older programs need says so in the same step:
//
//	UPDATE schema_compatibility SET floor = N;
//
// where N is the lowest step that a program must know to run on the result.
package migrations

import "embed"

// Files are the steps, named NNN_name.sql.
//
//go:embed *.sql
var Files embed.FS
