package build

import (
	"reflect"
	"strconv"

	"github.com/dop251/goja/ast"
)

// unnestPattern mends an array pattern with defaults that has itself a default,
// as in {b: [c = 2] = []}: goja's parser forgets to read the inner default as
// one. The elements from the first default on become {0: c = 2}, an object
// pattern on the rest of the elements, which means the same but for iterators
// without an end. A rest element behind a default cannot be written so; then
// there is no edit.
//
// program is what the parser made in spite of its error at offset.
func unnestPattern(code string, program *ast.Program, offset int) []edit {
	if program == nil {
		return nil
	}
	pattern, first := findPattern(program, offset)
	if pattern == nil || pattern.Rest != nil {
		return nil
	}
	edits := []edit{{offset: offset, text: "...{0: "}}
	for i, element := range pattern.Elements[first+1:] {
		if element == nil {
			return nil
		}
		edits = append(edits, edit{offset: int(element.Idx0()) - 1, text: strconv.Itoa(i+1) + ": "})
	}
	return append(edits, edit{offset: int(pattern.RightBracket) - 1, text: "}"})
}

// findPattern finds the array pattern whose element at offset the parser
// refused, and the element's index.
func findPattern(program *ast.Program, offset int) (*ast.ArrayPattern, int) {
	seen := map[any]bool{}
	var find func(v reflect.Value) (*ast.ArrayPattern, int)
	find = func(v reflect.Value) (*ast.ArrayPattern, int) {
		switch v.Kind() {
		case reflect.Interface:
			return find(v.Elem())
		case reflect.Pointer:
			if v.IsNil() || seen[v.Interface()] {
				return nil, 0
			}
			seen[v.Interface()] = true
			if pattern, ok := reflect.TypeAssert[*ast.ArrayPattern](v); ok {
				for i, element := range pattern.Elements {
					if bad, ok := element.(*ast.BadExpression); ok && int(bad.From)-1 == offset {
						return pattern, i
					}
				}
			}
			if v.Elem().Type().PkgPath() != astPackage {
				return nil, 0
			}
			return find(v.Elem())
		case reflect.Struct:
			for i := range v.NumField() {
				if v.Type().Field(i).IsExported() {
					if p, n := find(v.Field(i)); p != nil {
						return p, n
					}
				}
			}
		case reflect.Slice:
			for i := range v.Len() {
				if p, n := find(v.Index(i)); p != nil {
					return p, n
				}
			}
		}
		return nil, 0
	}
	return find(reflect.ValueOf(program))
}

var astPackage = reflect.TypeFor[ast.Program]().PkgPath()
