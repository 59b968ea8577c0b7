// Package engine runs built scripts on goja: a realm with the web APIs of a
// fetch handler, its event loop, and the limits that hold inside the process.
//
// A Program is compiled once and shared; a Runtime is one realm that runs one
// Execution at a time; an Execution is one request with what belongs to it. The
// outside is reached through Host alone, so the package knows of no process and
// no socket.
package engine

import (
	"strings"

	"github.com/dop251/goja"
	"github.com/dop251/goja/parser"
	"github.com/picloud/picloud/services/cloud"
)

// Program is a compiled script. It is immutable and safe for concurrent use.
type Program struct {
	name string
	code *goja.Program
}

// Compile compiles the code of a cloud.Build. name appears in stacks. Code that
// does not parse is a CodeBuildFailed error, which a successful build rules out.
func Compile(name, code string) (*Program, error) {
	// The code is an expression that would read as a declaration at the start of
	// a statement. Only columns of its first line, which is never the user's, move
	// by what is put before it.
	ast, err := goja.Parse(name, "("+strings.TrimRight(code, "; \n\t")+"\n)", parser.WithDisableSourceMaps)
	if err != nil {
		return nil, cloud.Errorf(cloud.CodeBuildFailed, "script %q does not compile: %v", name, err)
	}
	p, err := goja.CompileAST(ast, false)
	if err != nil {
		return nil, cloud.Errorf(cloud.CodeBuildFailed, "script %q does not compile: %v", name, err)
	}
	return &Program{name: name, code: p}, nil
}

// codeColumn is the column in what Compile reads as one of the code.
func codeColumn(line, column int) int {
	if line == 1 {
		column--
	}
	return column
}
