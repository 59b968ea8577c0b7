package main

import (
	"errors"
	"strings"
	"testing"
)

func TestParseRoute(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]newRoute{
		"GET:/users/:id": {Method: "GET", Path: "/users/:id"},
		"post:/":         {Method: "POST", Path: "/"},
		"any:/files/*":   {Method: "ANY", Path: "/files/*"},
		"/users/:id":     {Path: "/users/:id"},
	} {
		if got, err := parseRoute(in); err != nil || got != want {
			t.Errorf("parseRoute(%q) = %+v, %v, want %+v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "GET", "GET:", "GET:users", "TAKE:/users", "/a//b", "GET:/a/*/b"} {
		_, err := parseRoute(in)
		if _, ok := errors.AsType[*usageError](err); !ok {
			t.Errorf("parseRoute(%q) = %v, want a usage error", in, err)
		}
	}
}

func TestRoutes_Commands(t *testing.T) {
	t.Parallel()
	const added = `{"id":"r1","script":"orders","method":"POST","path":"/orders","mode":"async","url":"http://pi/orders"}`
	runCommands(t, []commandTest{
		{
			rule:    "add --mode async",
			answers: map[string][]string{"POST /apps/default/routes": {"201 " + added}},
			args:    "routes add --script orders --mode async POST:/orders",
			asked:   []string{`POST /apps/default/routes {"script":"orders","method":"POST","path":"/orders","mode":"async"} as pis_x`},
			out:     "POST /orders leads asynchronously to orders: http://pi/orders\n",
		},
		{
			rule:    "ls tells the mode",
			answers: map[string][]string{"GET /apps/default/routes": {`200 {"items":[` + added + `]}`}},
			args:    "routes ls",
			asked:   []string{"GET /apps/default/routes as pis_x"},
			out:     "METHOD  HOST  PATH     SCRIPT  MODE   ID\nPOST    any   /orders  orders  async  r1\n",
		},
		{rule: "deploy --mode is for routes", args: "deploy --mode async nothing.ts", code: exitUsage, errsHas: []string{"--mode is for the routes that --route gives: there is none"}},
	})
}

func TestFindRoute(t *testing.T) {
	t.Parallel()
	c := testCLI(t, nil)
	const id = "01a20a2c-1083-79a4-a6cb-7e0cd0015ee6"
	routes := []route{
		{ID: id, Method: "GET", Path: "/users/:id"},
		{ID: "2", Method: "ANY", Path: "/files/*"},
		{ID: "3", Method: "GET", Path: "/", Host: "a.example"},
		{ID: "4", Method: "GET", Path: "/", Host: "b.example"},
	}
	for ref, want := range map[string]string{
		id: id, strings.ToUpper(id): id, "GET:/users/:id": id, "/files/*": "2", "ANY:/files/*": "2",
	} {
		if got, err := c.findRoute(routes, ref); err != nil || got.ID != want {
			t.Errorf("findRoute(%q) = %+v, %v, want id %s", ref, got, err, want)
		}
	}
	for ref, want := range map[string]string{
		"GET:/":      "2 routes on different hosts",
		"GET:/files": "has no route GET:/files",
		"users":      "is not METHOD:PATH",
	} {
		if got, err := c.findRoute(routes, ref); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("findRoute(%q) = %+v, %v, want an error with %q", ref, got, err, want)
		}
	}
}
