package events

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// kind is what events of one kind are like. A new kind of event is one more entry
// in kinds, and a store that emits it in the transaction of its change.
type kind struct {
	handler string   // method of the script's default export
	ops     []string // that exist; none: the events have no op
	// triggers says that users may register triggers for it.
	triggers bool
	// place and name are the globs of a filter that an event's Place and Name are
	// compared with; nil: the kind has no such thing.
	place, name func(cloud.TriggerFilter) string
	scheduled   bool // the filter holds a schedule
	once        bool // a failed attempt is not repeated
	// sample is what a test event carries.
	sample json.RawMessage
}

var kinds = map[cloud.EventKind]kind{
	cloud.EventKV: {
		handler: "trigger", ops: []string{"set", "delete"}, triggers: true,
		place:  func(f cloud.TriggerFilter) string { return f.Collection },
		name:   func(f cloud.TriggerFilter) string { return f.Key },
		sample: json.RawMessage(`{"collection":"test","key":"test","value":{"test":true}}`),
	},
	cloud.EventCron: {
		handler: "scheduled", triggers: true, scheduled: true,
	},
	cloud.EventHTTP: {
		handler: "fetch",
	},
	cloud.EventDeadLetter: {
		handler: "trigger", triggers: true, once: true,
		sample: json.RawMessage(`{"deadLetterId":"00000000-0000-7000-8000-000000000000","attempts":5,"lastError":{"name":"Error","message":"test"},"original":{"id":"00000000-0000-7000-8000-000000000000","kind":"kv","op":"set","collection":"test","key":"test","value":{"test":true}}}`),
	},
}

// Handler is the method of a script's default export that gets events of a kind.
func Handler(k cloud.EventKind) string { return kinds[k].handler }

// Check completes a trigger as its owner wrote it: the retry policy, and the next
// run of a schedule. CodeInvalid about the field that is wrong.
func Check(t cloud.Trigger, now time.Time) (cloud.Trigger, error) {
	k, ok := kinds[t.Kind]
	if !ok || !k.triggers {
		return t, cloud.Invalid("kind", "%q is none of %s", t.Kind, strings.Join(registrable(), ", "))
	}
	for _, text := range []struct{ field, value string }{{"collection", t.Filter.Collection}, {"key", t.Filter.Key}} {
		if len(text.value) > cloud.MaxKVKey {
			return t, cloud.Invalid(text.field, "has %d bytes; at most %d are allowed", len(text.value), cloud.MaxKVKey)
		}
		if strings.ToValidUTF8(text.value, "") != text.value || strings.ContainsRune(text.value, 0) {
			return t, cloud.Invalid(text.field, "is not valid UTF-8 text without U+0000")
		}
	}
	switch f := t.Filter; {
	case k.place == nil && f.Collection != "":
		return t, cloud.Invalid("collection", "events of the kind %s have no collection", t.Kind)
	case k.name == nil && f.Key != "":
		return t, cloud.Invalid("key", "events of the kind %s have no key", t.Kind)
	case !k.scheduled && (f.Schedule != "" || f.TimeZone != ""):
		return t, cloud.Invalid("schedule", "only the kind %s has one", cloud.EventCron)
	}
	for _, op := range t.Filter.Ops {
		if !slices.Contains(k.ops, op) {
			return t, cloud.Invalid("ops", "%q is no operation of the kind %s; it has %s", op, t.Kind, orNone(k.ops))
		}
	}
	var err error
	if t.Retry, err = CheckRetry(t.Retry); err != nil {
		return t, err
	}
	if k.once {
		t.Retry.Attempts = 1
	}
	t.NextAt = time.Time{}
	if k.scheduled {
		if t.NextAt, err = Next(t.Filter, now); err != nil {
			return t, err
		}
	}
	return t, nil
}

// registrable are the kinds that triggers may have, sorted.
func registrable() []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		if kinds[name].triggers {
			names = append(names, string(name))
		}
	}
	return names
}

func orNone(ops []string) string {
	if len(ops) == 0 {
		return "none"
	}
	return strings.Join(ops, ", ")
}

// Patterns are a trigger's filter as SQL's LIKE compares it (backslash escapes);
// nil matches everything.
func Patterns(t cloud.Trigger) (place, name *string, ops []string) {
	k := kinds[t.Kind]
	if k.place != nil {
		place = like(k.place(t.Filter))
	}
	if k.name != nil {
		name = like(k.name(t.Filter))
	}
	if len(t.Filter.Ops) > 0 {
		ops = t.Filter.Ops
	}
	return place, name, ops
}

var likeOf = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`, `*`, `%`, `?`, `_`)

// like is a glob as a LIKE pattern; nil for one that everything matches.
func like(glob string) *string {
	if strings.Trim(glob, "*") == "" {
		return nil
	}
	pattern := likeOf.Replace(glob)
	return &pattern
}

// ForHandler is the event as its handler gets it, a JSON object: id, kind, op, at
// (milliseconds since 1970), attempt, depth, and the fields of the kind.
func ForHandler(d cloud.Delivery) (json.RawMessage, error) {
	all, err := fields(d)
	if err != nil {
		return nil, err
	}
	all["attempt"] = json.RawMessage(strconv.Itoa(d.Attempt))
	all["depth"] = json.RawMessage(strconv.Itoa(d.Depth))
	return json.Marshal(all)
}

// fields are what an event is in itself: id, kind, op, at, and the fields of the
// kind, which may not replace those.
func fields(d cloud.Delivery) (map[string]json.RawMessage, error) {
	all := map[string]json.RawMessage{}
	if len(d.Payload) > 0 {
		if err := json.Unmarshal(d.Payload, &all); err != nil || all == nil {
			return nil, cloud.Errorf(cloud.CodeInternal, "the payload of event %s is no JSON object", d.EventID).Because(err)
		}
	}
	for name, text := range map[string]string{"id": d.EventID, "kind": string(d.Kind), "op": d.Op} {
		all[name], _ = json.Marshal(text) // always encodes
	}
	all["at"] = json.RawMessage(strconv.FormatInt(d.At.UnixMilli(), 10))
	return all, nil
}
