package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
)

// TestKVList pages through 2,500 keys and collections.
func TestKVList(t *testing.T) {
	t.Parallel()
	const total = 2500
	name := func(i int) string { return fmt.Sprintf("n%04d", i) }
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("GET /api/v1/apps/default/kv", func(w http.ResponseWriter, r *http.Request) {
		limit, _ := strconv.Atoi(r.FormValue("limit"))
		names := []string{}
		for i := 0; i < total && len(names) < limit; i++ {
			if name(i) > r.FormValue("after") {
				names = append(names, name(i))
			}
		}
		answer(w, map[string]any{"collections": names})
	})
	mux.HandleFunc("GET /api/v1/apps/default/kv/c", func(w http.ResponseWriter, r *http.Request) {
		limit, _ := strconv.Atoi(r.FormValue("limit"))
		from, _ := strconv.Atoi(r.FormValue("cursor"))
		to := min(from+limit, total)
		entries := []entry{}
		for i := from; i < to; i++ {
			entries = append(entries, entry{Key: name(i)})
		}
		page := map[string]any{"entries": entries}
		if to < total {
			page["cursor"] = strconv.Itoa(to)
		}
		answer(w, page)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	for _, test := range []struct {
		args []string
		want int
		more bool
	}{
		{[]string{"kv", "ls", "--limit", "0"}, total, false},
		{[]string{"kv", "ls", "--limit", "1200"}, 1200, false},
		{[]string{"kv", "ls", "c"}, 100, true},
		{[]string{"kv", "ls", "c", "--limit", "0"}, total, false},
		{[]string{"kv", "ls", "c", "--limit", "1001"}, 1001, true},
		{[]string{"kv", "ls", "c", "--limit", "2500"}, total, false},
	} {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			t.Parallel()
			c := testCLI(t, map[string]string{"PICLOUD_URL": s.URL, "PICLOUD_TOKEN": "pic_x"})
			if code := run(t.Context(), c.system, test.args); code != exitOK {
				t.Fatal(c.err)
			}
			out := fmt.Sprint(c.out)
			if got := strings.Count(out, "n"); got != test.want {
				t.Errorf("%d names are listed, want %d", got, test.want)
			}
			if last := name(test.want - 1); !strings.Contains(out, last) {
				t.Errorf("%s is not listed", last)
			}
			if got := strings.Contains(fmt.Sprint(c.err), "There are more keys"); got != test.more {
				t.Errorf("told that there are more: %v, want %v", got, test.more)
			}
		})
	}
}
