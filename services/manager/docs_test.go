package manager_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/picloud/picloud/services/cloud"
)

// Whoever meets a code finds it in the documentation, with its status.
func TestDocs_everyCodeIsExplained(t *testing.T) {
	t.Parallel()
	source, err := parser.ParseFile(token.NewFileSet(), "../cloud/error.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(source, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Names) != 1 || !strings.HasPrefix(spec.Names[0].Name, "Code") {
			return true
		}
		code, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		found++
		if row := "| `" + code + "` | " + strconv.Itoa(cloud.Code(code).Status()) + " |"; strings.Count(string(page), row) != 1 {
			t.Errorf("docs/errors.md has no row %s", row)
		}
		return true
	})
	if found < 28 {
		t.Errorf("only %d codes were found", found)
	}
}
