package events

import (
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/picloud/picloud/services/cloud"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func wantInvalid(t *testing.T, err error, field string) {
	t.Helper()
	e, ok := errors.AsType[*cloud.Error](err)
	if !ok || e.Code != cloud.CodeInvalid || e.Field != field {
		t.Fatalf("error %v, want invalid about %s", err, field)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		kind   cloud.EventKind
		filter cloud.TriggerFilter
		field  string // that is refused
	}{
		{name: "everything of kv", kind: cloud.EventKV},
		{name: "some of kv", kind: cloud.EventKV, filter: cloud.TriggerFilter{Collection: "guests", Key: "a*", Ops: []string{"set", "delete"}}},
		{name: "a schedule", kind: cloud.EventCron, filter: cloud.TriggerFilter{Schedule: "0 9 * * *", TimeZone: "Europe/Berlin"}},
		{name: "dead letters", kind: cloud.EventDeadLetter},
		{name: "no kind", field: "kind"},
		{name: "a kind that is not", kind: "lamp", field: "kind"},
		{name: "a kind that routes have", kind: cloud.EventHTTP, field: "kind"},
		{name: "no schedule", kind: cloud.EventCron, field: "schedule"},
		{name: "a bad schedule", kind: cloud.EventCron, filter: cloud.TriggerFilter{Schedule: "often"}, field: "schedule"},
		{name: "a bad zone", kind: cloud.EventCron, filter: cloud.TriggerFilter{Schedule: "@daily", TimeZone: "Moon"}, field: "time_zone"},
		{name: "a schedule of kv", kind: cloud.EventKV, filter: cloud.TriggerFilter{Schedule: "@daily"}, field: "schedule"},
		{name: "a zone of kv", kind: cloud.EventKV, filter: cloud.TriggerFilter{TimeZone: "UTC"}, field: "schedule"},
		{name: "a collection of cron", kind: cloud.EventCron, filter: cloud.TriggerFilter{Schedule: "@daily", Collection: "x"}, field: "collection"},
		{name: "a key of dead letters", kind: cloud.EventDeadLetter, filter: cloud.TriggerFilter{Key: "x"}, field: "key"},
		{name: "an operation that is not", kind: cloud.EventKV, filter: cloud.TriggerFilter{Ops: []string{"set", "get"}}, field: "ops"},
		{name: "an operation of cron", kind: cloud.EventCron, filter: cloud.TriggerFilter{Schedule: "@daily", Ops: []string{"set"}}, field: "ops"},
		{name: "a long collection", kind: cloud.EventKV, filter: cloud.TriggerFilter{Collection: strings.Repeat("x", cloud.MaxKVKey+1)}, field: "collection"},
		{name: "a key that is no text", kind: cloud.EventKV, filter: cloud.TriggerFilter{Key: "\xff"}, field: "key"},
		{name: "a key with U+0000", kind: cloud.EventKV, filter: cloud.TriggerFilter{Key: "a\x00"}, field: "key"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			asked := cloud.Trigger{ID: "id", Kind: test.kind, Filter: test.filter, NextAt: noon.Add(-time.Hour)}
			got, err := Check(asked, noon)
			if test.field != "" {
				wantInvalid(t, err, test.field)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := asked
			want.Retry, want.NextAt = cloud.DefaultRetry, time.Time{}
			switch test.kind {
			case cloud.EventCron:
				want.NextAt = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)
			case cloud.EventDeadLetter:
				want.Retry.Attempts = 1
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
	t.Run("a bad retry policy", func(t *testing.T) {
		t.Parallel()
		_, err := Check(cloud.Trigger{Kind: cloud.EventKV, Retry: cloud.RetryPolicy{Attempts: 100}}, noon)
		wantInvalid(t, err, "retry.attempts")
	})
}

// likeMatches compares as LIKE does, with its escapes: % any text, _ one character.
func likeMatches(pattern, text string) bool {
	var expression strings.Builder
	expression.WriteString(`(?s)\A`)
	escaped := false
	for _, c := range pattern {
		switch {
		case escaped:
			expression.WriteString(regexp.QuoteMeta(string(c)))
			escaped = false
		case c == '\\':
			escaped = true
		case c == '%':
			expression.WriteString(`.*`)
		case c == '_':
			expression.WriteString(`.`)
		default:
			expression.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	expression.WriteString(`\z`)
	return !escaped && regexp.MustCompile(expression.String()).MatchString(text)
}

// globMatches compares as the globs of filters are meant: * any text, ? one
// character.
func globMatches(glob, text []rune) bool {
	switch {
	case len(glob) == 0:
		return len(text) == 0
	case glob[0] == '*':
		return globMatches(glob[1:], text) || len(text) > 0 && globMatches(glob, text[1:])
	default:
		return len(text) > 0 && (glob[0] == '?' || glob[0] == text[0]) && globMatches(glob[1:], text[1:])
	}
}

func TestLike(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		glob, want string
		yes, no    []string
	}{
		{"guests", "guests", []string{"guests"}, []string{"guest", "guests2", ""}},
		{"a*", "a%", []string{"a", "abc"}, []string{"ba", "A"}},
		{"*.json", "%.json", []string{".json", "a.json"}, []string{"ajson", "a.json2"}},
		{"user:?:name", "user:_:name", []string{"user:1:name", "user:é:name"}, []string{"user::name", "user:12:name"}},
		{"100%_sure", `100\%\_sure`, []string{"100%_sure"}, []string{"100 very sure", "100%xsure"}},
		{`back\slash*`, `back\\slash%`, []string{`back\slash`, `back\slashes`}, []string{"backslash"}},
	} {
		got := like(test.glob)
		if got == nil || *got != test.want {
			t.Errorf("%q is %v, want %q", test.glob, got, test.want)
			continue
		}
		for _, text := range test.yes {
			if !likeMatches(*got, text) {
				t.Errorf("%q does not match %q", test.glob, text)
			}
		}
		for _, text := range test.no {
			if likeMatches(*got, text) {
				t.Errorf("%q matches %q", test.glob, text)
			}
		}
	}
	for _, everything := range []string{"", "*", "**"} {
		if got := like(everything); got != nil {
			t.Errorf("%q is %q, want nil", everything, *got)
		}
	}
}

// FuzzLike shows that a glob and what is made of it match the same.
func FuzzLike(f *testing.F) {
	f.Add("user:*", "user:1")
	f.Add("a?c", "abc")
	f.Add(`%\_*`, `%\_x`)
	f.Add("***a", "aaa")
	f.Fuzz(func(t *testing.T, glob, text string) {
		if !utf8.ValidString(glob) || !utf8.ValidString(text) || len(glob) > 30 || len(text) > 30 || strings.Count(glob, "*") > 5 {
			return
		}
		pattern := like(glob)
		got := pattern == nil || likeMatches(*pattern, text)
		want := glob == "" || globMatches([]rune(glob), []rune(text))
		if got != want {
			t.Errorf("%q as LIKE matches %q: %t, want %t", glob, text, got, want)
		}
	})
}

func TestPatterns(t *testing.T) {
	t.Parallel()
	place, name, ops := Patterns(cloud.Trigger{Kind: cloud.EventKV, Filter: cloud.TriggerFilter{Collection: "c*", Key: "k", Ops: []string{"set"}}})
	if place == nil || *place != "c%" || name == nil || *name != "k" || !slices.Equal(ops, []string{"set"}) {
		t.Errorf("%v, %v, %v", place, name, ops)
	}
	for _, kind := range slices.Collect(maps.Keys(kinds)) {
		if place, name, ops := Patterns(cloud.Trigger{Kind: kind}); place != nil || name != nil || ops != nil {
			t.Errorf("an empty filter of the kind %s: %v, %v, %v", kind, place, name, ops)
		}
	}
}

func TestHandler(t *testing.T) {
	t.Parallel()
	for kind, want := range map[cloud.EventKind]string{
		cloud.EventKV: "trigger", cloud.EventCron: "scheduled", cloud.EventHTTP: "fetch", cloud.EventDeadLetter: "trigger", "lamp": "",
	} {
		if got := Handler(kind); got != want {
			t.Errorf("%s is for %q, want %q", kind, got, want)
		}
	}
}

// Whatever a kind says of itself, its handler and sample fit.
func TestKinds(t *testing.T) {
	t.Parallel()
	for name, k := range kinds {
		if k.handler == "" {
			t.Errorf("the kind %s has no handler", name)
		}
		if k.triggers && !k.scheduled && !json.Valid(k.sample) {
			t.Errorf("the kind %s has no sample for a test event", name)
		}
	}
}

func TestForHandler(t *testing.T) {
	t.Parallel()
	d := cloud.Delivery{
		EventID: "event", Kind: cloud.EventKV, Op: "set", Attempt: 2, Depth: 3, At: noon.Add(1500 * time.Microsecond),
		Payload: json.RawMessage(`{"collection":"c","key":"k","value":{"n":1},"id":"forged","attempt":"forged"}`),
	}
	got, err := ForHandler(d)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"at":1772366400001,"attempt":2,"collection":"c","depth":3,"id":"event","key":"k","kind":"kv","op":"set","value":{"n":1}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	d.Payload = nil
	if got, err := ForHandler(d); err != nil || !strings.Contains(string(got), `"id":"event"`) {
		t.Errorf("without a payload: %s (error %v)", got, err)
	}
	for _, payload := range []string{`[]`, `"x"`, `null`, `{`, `7`} {
		d.Payload = json.RawMessage(payload)
		if got, err := ForHandler(d); cloud.CodeOf(err) != cloud.CodeInternal {
			t.Errorf("payload %s: %s (error %v), want an error", payload, got, err)
		}
	}
}

func FuzzForHandler(f *testing.F) {
	f.Add([]byte(`{"collection":"c"}`), "event", "set", int64(0), 1, 0)
	f.Add([]byte(`{"id":null,"ID":1,"a\u0000":"\ud800"}`), "", "\xff", int64(1)<<60, -1, 99)
	f.Add([]byte(`{"a":1,"a":2}`), "x", "", int64(-1), 0, 0)
	f.Fuzz(func(t *testing.T, payload []byte, id, op string, at int64, attempt, depth int) {
		d := cloud.Delivery{EventID: id, Kind: cloud.EventKV, Op: op, Payload: payload, At: time.UnixMilli(at), Attempt: attempt, Depth: depth}
		got, err := ForHandler(d)
		if err != nil {
			return
		}
		var event struct {
			ID, Op         string
			Kind           cloud.EventKind
			At             int64
			Attempt, Depth int
		}
		var all map[string]json.RawMessage
		if err := errors.Join(json.Unmarshal(got, &all)); err != nil {
			t.Fatalf("%s: %v", got, err)
		}
		own, err := json.Marshal(map[string]json.RawMessage{
			"id": all["id"], "op": all["op"], "kind": all["kind"], "at": all["at"], "attempt": all["attempt"], "depth": all["depth"],
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(own, &event); err != nil {
			t.Fatalf("%s: %v", own, err)
		}
		if event.ID != strings.ToValidUTF8(id, "\ufffd") && utf8.ValidString(id) || event.Kind != cloud.EventKV || event.At != d.At.UnixMilli() || event.Attempt != attempt || event.Depth != depth {
			t.Errorf("%s is not about %+v", got, d)
		}
	})
}

// FuzzCheck shows that what is accepted is accepted again, and means the same.
func FuzzCheck(f *testing.F) {
	f.Add("kv", "guests", "a*", "set", "", "")
	f.Add("cron", "", "", "", "0 9 * * MON", "Europe/Berlin")
	f.Add("cron", "", "", "", "@every 1h30m", "")
	f.Add("dead_letter", "", "", "", "", "")
	f.Add("http", "\x00", "\xff", "get", "@reboot", "../x")
	f.Fuzz(func(t *testing.T, kind, collection, key, op, schedule, zone string) {
		trigger := cloud.Trigger{Kind: cloud.EventKind(kind), Filter: cloud.TriggerFilter{Collection: collection, Key: key, Schedule: schedule, TimeZone: zone}}
		if op != "" {
			trigger.Filter.Ops = []string{op}
		}
		checked, err := Check(trigger, noon)
		if err != nil {
			if cloud.CodeOf(err) != cloud.CodeInvalid {
				t.Fatalf("%+v: %v", trigger, err)
			}
			return
		}
		again, err := Check(checked, noon)
		if err != nil || !reflect.DeepEqual(again, checked) {
			t.Errorf("%+v becomes %+v (error %v) when it is checked again", checked, again, err)
		}
		if (checked.Kind == cloud.EventCron) != checked.NextAt.After(noon) {
			t.Errorf("%+v runs next at %s", checked.Filter, checked.NextAt)
		}
	})
}
