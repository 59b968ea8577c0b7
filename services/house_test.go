// Package services_test keeps the house in order: who may import whom, what lies
// where, and that the documentation leads somewhere.
package services_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

const (
	module = "github.com/picloud/picloud/"
	root   = ".."
)

// Import paths that the rules speak of; "/..." is the path and all below it.
const (
	caddy   = "github.com/caddyserver/caddy/v2/..."
	chroma  = "github.com/alecthomas/chroma/v2/..."
	dbus    = "github.com/godbus/dbus/v5/..."
	esbuild = "github.com/evanw/esbuild/..."
	goja    = "github.com/dop251/goja/..."
	goose   = "github.com/pressly/goose/v3/..."
	pgx     = "github.com/jackc/pgx/v5/..."
	systemd = "github.com/coreos/go-systemd/v22/..."
)

// keepers are packages that alone import something. Tests may import more.
var keepers = []struct {
	what, who []string
	why       string
}{
	{
		[]string{goose}, []string{"services/postgres/..."},
		"the schema changes in one place",
	},
	{
		// caddycloud holds the pool it hands to postgres; bench compares with bare pgx.
		[]string{pgx}, []string{"services/postgres/...", "services/caddycloud", "scripts/bench"},
		"SQL in one place can be read, tuned and tested as a whole; everyone else meets a store interface",
	},
	{
		[]string{goja, esbuild}, []string{"services/javascript/..."},
		"the language can be replaced or mended without touching who runs it",
	},
	{
		[]string{caddy}, []string{"services/caddycloud", "appliance/caddyappliance", "cmd/picloud"},
		"the cloud is plain Go over net/http; Caddy's modules are thin adapters around it",
	},
	{
		[]string{dbus}, []string{"appliance/..."},
		"the cloud knows of no board",
	},
	{
		[]string{systemd}, []string{"appliance/...", "services/caddycloud"},
		"the cloud knows of no board; caddycloud alone takes the sockets that systemd hands over",
	},
	{
		[]string{module + "appliance/..."}, []string{"appliance/...", "cmd/picloud"},
		"the cloud runs on any machine; what only a board needs is put on top",
	},
	{
		[]string{module + "services/cloudtest/..."}, nil,
		"fakes, factories and clocks are for tests",
	},
}

// strangers are packages that a program or package must not even link.
var strangers = []struct {
	who  string
	what []string
	why  string
}{
	{
		"cmd/pic", []string{caddy, goja, pgx},
		"the CLI is downloaded to laptops, starts for every completion, and talks to the server by its API",
	},
	{
		"cmd/picloud-worker", []string{caddy, pgx, esbuild},
		"a worker starts in milliseconds while a request waits, and what it does not link no script can reach",
	},
	{
		"cmd/picloud", []string{chroma},
		"the highlighter behind Caddy's file_server and templates doubles the start of the server",
	},
}

// technologies are the rooms of services that join the cloud to something
// outside. All other rooms are the cloud itself.
var technologies = []string{
	"services/postgres/...", "services/javascript/...", "services/caddycloud/...", "services/cloudtest/...",
}

// topLevel is all that may lie in the repository's root.
var topLevel = []string{
	".ci", ".editorconfig", ".gitattributes", ".gitignore", ".golangci.yml",
	"CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md",
	"appliance", "cmd", "docs", "examples", "go.mod", "go.sum", "image",
	"migrations", "rootfs", "scripts", "services", "web",
}

type goPackage struct {
	ImportPath string
	Dir        string
	Standard   bool
	GoFiles    []string // tests left out
	Imports    []string
}

// packages lists the packages of the module and all they are linked with, tests
// left out, by import path.
var packages = sync.OnceValues(func() (map[string]goPackage, error) {
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Dir,Standard,GoFiles,Imports", "./...")
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, errors.Join(err, errors.New(stderr.String()))
	}
	all := map[string]goPackage{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		switch err := d.Decode(&p); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, err
		}
		all[p.ImportPath] = p
	}
})

func allPackages(t *testing.T) map[string]goPackage {
	t.Helper()
	all, err := packages()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return all
}

// own are the module's packages by their path below the module, without those
// that hold nothing but tests.
func own(t *testing.T) map[string]goPackage {
	t.Helper()
	mine := map[string]goPackage{}
	for name, p := range allPackages(t) {
		if rel, ok := strings.CutPrefix(name, module); ok && len(p.GoFiles) > 0 {
			mine[rel] = p
		}
	}
	if len(mine) == 0 {
		t.Fatalf("go list knows no package of %s", module)
	}
	return mine
}

// matches tells whether name is pattern, or below it if pattern ends in "/...".
func matches(pattern, name string) bool {
	base, subtree := strings.CutSuffix(pattern, "/...")
	return name == base || subtree && strings.HasPrefix(name, base+"/")
}

func matchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, name) })
}

// room is the folder below services that a package belongs to.
func room(rel string) string {
	parts := strings.SplitN(rel, "/", 3)
	return strings.Join(parts[:min(2, len(parts))], "/")
}

func TestImports_Keepers(t *testing.T) {
	t.Parallel()
	for rel, p := range own(t) {
		for _, rule := range keepers {
			if matchesAny(rule.who, rel) || matches("services/cloudtest/...", rel) {
				continue
			}
			for _, imported := range p.Imports {
				if matchesAny(rule.what, imported) && room(rel) != room(strings.TrimPrefix(imported, module)) {
					t.Errorf("%s imports %s, which only %v may: %s", rel, imported, rule.who, rule.why)
				}
			}
		}
	}
}

func TestImports_TheWordsNeedNothing(t *testing.T) {
	t.Parallel()
	all := allPackages(t)
	words, ok := all[module+"services/cloud"]
	if !ok {
		t.Fatal("there is no services/cloud")
	}
	for _, imported := range words.Imports {
		if !all[imported].Standard {
			t.Errorf("services/cloud imports %s: every package shares its words, so it may bring nothing but the standard library", imported)
		}
	}
}

func TestImports_RoomsMeetInTheWords(t *testing.T) {
	t.Parallel()
	for rel, p := range own(t) {
		if !strings.HasPrefix(rel, "services/") || matchesAny(technologies, rel) {
			continue
		}
		for _, imported := range p.Imports {
			target, ours := strings.CutPrefix(imported, module)
			if ours && target != "services/cloud" && room(target) != room(rel) {
				t.Errorf("%s imports %s: rooms of the cloud share words (services/cloud) and meet through interfaces declared where they are used, so that each can be read and tested alone", rel, target)
			}
		}
		for _, outside := range []string{pgx, goja, esbuild, caddy, systemd} {
			if chain := chainTo(allPackages(t), p.ImportPath, outside); chain != nil {
				t.Errorf("%s is linked with a technology, by %s: the rules of the cloud are plain Go", rel, strings.Join(chain, " → "))
			}
		}
	}
}

func TestImports_Strangers(t *testing.T) {
	t.Parallel()
	all := allPackages(t)
	for _, rule := range strangers {
		if _, ok := all[module+rule.who]; !ok {
			t.Errorf("the rule about %s is about nothing", rule.who)
		}
		for _, what := range rule.what {
			if chain := chainTo(all, module+rule.who, what); chain != nil {
				t.Errorf("%s is linked with %s, by %s: %s", rule.who, what, strings.Join(chain, " → "), rule.why)
			}
		}
	}
}

// chainTo finds a shortest chain of imports from a package to one that the
// pattern matches, or nil.
func chainTo(all map[string]goPackage, from, pattern string) []string {
	importer := map[string]string{from: ""}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		if matches(pattern, queue[0]) {
			var chain []string
			for p := queue[0]; p != ""; p = importer[p] {
				chain = append(chain, p)
			}
			slices.Reverse(chain)
			return chain
		}
		for _, next := range all[queue[0]].Imports {
			if _, seen := importer[next]; !seen {
				importer[next] = queue[0]
				queue = append(queue, next)
			}
		}
	}
	return nil
}

func TestPackages_SayWhatTheyAre(t *testing.T) {
	t.Parallel()
	for rel, p := range own(t) {
		files, err := filepath.Glob(filepath.Join(p.Dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		comments := 0
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			if parsed.Doc != nil && parsed.Doc.Text() != "" {
				comments++
			}
		}
		switch {
		case comments == 0:
			t.Errorf("%s has no package comment: say in a sentence what it is for", rel)
		case comments > 1:
			t.Errorf("%s has %d package comments: one file says what the package is for", rel, comments)
		}
	}
}

// tracked lists the repository's files by their paths with slashes.
func tracked(t *testing.T) []string {
	t.Helper()
	if _, err := os.Stat(filepath.Join(root, ".git")); err != nil {
		t.Skip("this is no git checkout: what belongs to the repository is unknown")
	}
	cmd := exec.Command("git", "ls-files", "-z")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	files := strings.Split(strings.TrimRight(string(out), "\x00"), "\x00")
	return slices.DeleteFunc(files, func(name string) bool {
		_, err := os.Lstat(filepath.Join(root, name))
		return errors.Is(err, os.ErrNotExist) // removed, and not committed yet
	})
}

func TestRepository_TopLevelIsFixed(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, name := range tracked(t) {
		top, _, _ := strings.Cut(name, "/")
		seen[top] = true
	}
	for _, top := range slices.Sorted(maps.Keys(seen)) {
		if !slices.Contains(topLevel, top) {
			t.Errorf("%s lies in the repository's root: find it a room, or add one in house_test.go and docs/architecture.md", top)
		}
	}
}

func TestRepository_NothingIsEmpty(t *testing.T) {
	t.Parallel()
	for _, name := range tracked(t) {
		info, err := os.Stat(filepath.Join(root, name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if info.Size() == 0 && !strings.Contains(name, "testdata/") {
			t.Errorf("%s is empty: a file appears with what it holds", name)
		}
	}
}

var markdownLink = regexp.MustCompile(`\]\(([^)\s]+)\)|(?:src|href)="([^"]+)"`)

// linksOf lists the files that a Markdown file points to, as paths from the root.
func linksOf(t *testing.T, name string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	var targets []string
	for _, m := range markdownLink.FindAllStringSubmatch(string(text), -1) {
		target, _, _ := strings.Cut(m[1]+m[2], "#")
		if target == "" || strings.Contains(target, ":") {
			continue // a heading of the same file, or another site
		}
		targets = append(targets, path.Join(path.Dir(name), target))
	}
	return targets
}

func TestDocs_LinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	for _, name := range tracked(t) {
		if !strings.HasSuffix(name, ".md") {
			continue
		}
		for _, target := range linksOf(t, name) {
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s links to %s, which is not there", name, target)
			}
		}
	}
}

func TestDocs_MapShowsAll(t *testing.T) {
	t.Parallel()
	shown := linksOf(t, "docs/README.md")
	for _, name := range tracked(t) {
		if strings.HasPrefix(name, "docs/") && strings.HasSuffix(name, ".md") && name != "docs/README.md" && !slices.Contains(shown, name) {
			t.Errorf("docs/README.md does not lead to %s", name)
		}
	}
}
