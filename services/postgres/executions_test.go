package postgres_test

import (
	"testing"
	"time"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/cloudtest"
	"github.com/picloud/picloud/services/postgres"
)

func record(appID, scriptID string, at time.Time) cloud.Execution {
	return cloud.Execution{
		ID: cloud.NewID(), AppID: appID, ScriptID: scriptID, ScriptName: "s", Version: 2, Trigger: "http",
		RequestID: "r", Method: "GET", Path: "/p", Status: 200, StartedAt: at,
		Duration: 1234567, CPU: 345678, PeakMemory: 1 << 20,
	}
}

func TestExecutions(t *testing.T) {
	t.Parallel()
	pool := cloudtest.Database(t)
	log, s := postgres.NewExecutions(pool), postgres.NewApps(pool, nil)
	app, other := createApp(t, pool, "app").ID, createApp(t, pool, "other").ID
	script := cloud.NewID()

	full := record(app, script, noon)
	full.Lines = []cloud.LogLine{{At: noon, Level: "warn", Text: "hello\n\u00e9"}}
	full.Truncated, full.Status, full.Code = true, 500, cloud.CodeScriptThrew
	full.Error = &cloud.ScriptError{Name: "TypeError", Message: "m", Stack: "at f (s.ts:1:2)", Code: "E"}
	plain := record(app, cloud.NewID(), noon.Add(time.Minute))
	foreign := record(other, script, noon)
	gone := record(cloud.NewID(), script, noon)
	must(t, log.AppendExecutions(t.Context(), []cloud.Execution{full, plain, foreign, gone}))
	must(t, log.AppendExecutions(t.Context(), nil))
	must(t, log.AppendExecutions(t.Context(), []cloud.Execution{gone}))

	for _, c := range []struct {
		name   string
		filter cloud.ExecutionFilter
		want   []cloud.Execution
	}{
		{"newest first", cloud.ExecutionFilter{}, []cloud.Execution{plain, full}},
		{"limit", cloud.ExecutionFilter{Limit: 1}, []cloud.Execution{plain}},
		{"before", cloud.ExecutionFilter{Before: plain.ID}, []cloud.Execution{full}},
		{"since", cloud.ExecutionFilter{Since: noon.Add(time.Second)}, []cloud.Execution{plain}},
		{"script", cloud.ExecutionFilter{ScriptID: script}, []cloud.Execution{full}},
		{"failed", cloud.ExecutionFilter{Failed: true}, []cloud.Execution{full}},
		{"all at once", cloud.ExecutionFilter{Failed: true, ScriptID: script, Before: plain.ID, Since: noon, Limit: 1}, []cloud.Execution{full}},
		{"no id", cloud.ExecutionFilter{ScriptID: "x"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.filter.AppID = app
			if c.filter.Limit == 0 {
				c.filter.Limit = 10
			}
			got, err := s.Executions(t.Context(), c.filter)
			must(t, err)
			equal(t, got, c.want)
		})
	}
	_, err := s.Executions(t.Context(), cloud.ExecutionFilter{AppID: app, Before: "x", Limit: 1})
	wantCode(t, err, cloud.CodeInvalid)

	t.Run("one", func(t *testing.T) {
		got, err := s.Execution(t.Context(), app, full.ID)
		must(t, err)
		equal(t, got, full)
		for _, id := range []string{foreign.ID, gone.ID, "x"} {
			_, err := s.Execution(t.Context(), app, id)
			wantCode(t, err, cloud.CodeNotFound)
		}
	})
	t.Run("text that no column keeps is replaced", func(t *testing.T) {
		r := record(app, script, noon)
		r.Path = "/a\x00\xff"
		r.Lines = []cloud.LogLine{{At: noon, Level: "info", Text: "nul \x00, \xff, and the text \\u0000 \\\\u0000\\"}}
		must(t, log.AppendExecutions(t.Context(), []cloud.Execution{r}))
		got, err := s.Execution(t.Context(), app, r.ID)
		must(t, err)
		r.Path = "/a\uFFFD\uFFFD"
		r.Lines[0].Text = "nul \uFFFD, \uFFFD, and the text \\u0000 \\\\u0000\\"
		equal(t, got, r)
	})
}

func TestExecutions_Sweep(t *testing.T) {
	t.Parallel()
	pool := cloudtest.Database(t)
	log, s := postgres.NewExecutions(pool), postgres.NewApps(pool, nil)
	apps := []string{createApp(t, pool, "one").ID, createApp(t, pool, "two").ID}
	var records []cloud.Execution
	for i := range 6 {
		for _, app := range apps {
			r := record(app, cloud.NewID(), noon.Add(time.Duration(i)*time.Hour))
			r.ID = cloud.FirstID(r.StartedAt) // ids follow the time, by which they are swept
			records = append(records, r)
		}
	}
	must(t, log.AppendExecutions(t.Context(), records))
	must(t, log.AppendExecutions(t.Context(), []cloud.Execution{record(createApp(t, pool, "small").ID, cloud.NewID(), noon.Add(time.Hour))}))
	for _, c := range []struct {
		before time.Time
		keep   int
		want   int
	}{{noon, 10, 6}, {noon.Add(time.Hour), 10, 5}, {noon, 5, 5}, {noon, 2, 2}} {
		must(t, log.SweepExecutions(t.Context(), c.before, c.keep))
		for _, app := range apps {
			got, err := s.Executions(t.Context(), cloud.ExecutionFilter{AppID: app, Limit: 100})
			must(t, err)
			equal(t, len(got), c.want)
			equal(t, got[0].StartedAt, noon.Add(5*time.Hour))
		}
	}
}
