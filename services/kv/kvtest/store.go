// Package kvtest specifies what a kv.Store does, as tests that every store
// passes.
package kvtest

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/kv"
)

// New makes an empty store for one test, and names two apps that exist in it.
type New func(t *testing.T) (store kv.Store, app, other string)

// TestStore runs the specification on stores that newStore makes.
func TestStore(t *testing.T, newStore New) {
	for name, test := range map[string]func(*suite){
		"an absent key is no error":                      (*suite).absent,
		"what is set is returned":                        (*suite).roundTrip,
		"versions count the changes":                     (*suite).versions,
		"ifVersion guards a change":                      (*suite).ifVersion,
		"one of many with the same ifVersion wins":       (*suite).oneWinner,
		"delete tells whether the key was there":         (*suite).remove,
		"apps and collections are apart":                 (*suite).isolation,
		"an expired entry is absent":                     (*suite).expiry,
		"increment adds doubles":                         (*suite).increment,
		"increment refuses what is no number":            (*suite).incrementRefusals,
		"concurrent increments sum up":                   (*suite).concurrentIncrements,
		"getMany returns what is there":                  (*suite).getMany,
		"list goes by the bytes of the keys":             (*suite).listOrder,
		"list takes a prefix literally":                  (*suite).listPrefix,
		"list pages while others write":                  (*suite).listWhileWriting,
		"collections are named once":                     (*suite).collections,
		"sweep deletes expired entries, at most a limit": (*suite).sweep,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, app, other := newStore(t)
			test(&suite{T: t, store: store, app: app, other: other, now: time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)})
		})
	}
}

type suite struct {
	*testing.T
	store      kv.Store
	app, other string
	now        time.Time
}

func (s *suite) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *suite) code(err error, want cloud.Code) {
	s.Helper()
	if cloud.CodeOf(err) != want {
		s.Fatalf("error %v, want code %q", err, want)
	}
}

func (s *suite) set(key, value string) cloud.KVEntry {
	s.Helper()
	e, err := s.store.Set(s.Context(), cloud.Cause{}, s.app, "c", key, json.RawMessage(value), time.Time{}, nil, s.now)
	s.must(err)
	return e
}

func (s *suite) get(key string) (cloud.KVEntry, bool) {
	s.Helper()
	e, ok, err := s.store.Get(s.Context(), s.app, "c", key, s.now)
	s.must(err)
	return e, ok
}

func (s *suite) keys(entries []cloud.KVEntry) []string {
	keys := make([]string, len(entries))
	for i, e := range entries {
		keys[i] = e.Key
	}
	return keys
}

func (s *suite) equal(got, want any) {
	s.Helper()
	if !reflect.DeepEqual(got, want) {
		s.Fatalf("got  %#v\nwant %#v", got, want)
	}
}

// sameJSON compares the values of two JSON texts.
func (s *suite) sameJSON(got json.RawMessage, want string) {
	s.Helper()
	var g, w any
	s.must(json.Unmarshal(got, &g))
	s.must(json.Unmarshal([]byte(want), &w))
	s.equal(g, w)
}

func (s *suite) absent() {
	e, ok := s.get("k")
	s.equal(ok, false)
	s.equal(e, cloud.KVEntry{})
}

func (s *suite) roundTrip() {
	for i, value := range []string{
		`null`, `true`, `0`, `-1.5`, `1e21`, `9007199254740993`, `0.1`, `""`, `"a\"b\\c\n\u00e9😀"`, `[]`, `{}`,
		`[1,[2,{"a":null}]]`, `{"b":1,"aa":{"z":[true]}}`, `"\\u0000 is text"`,
	} {
		key := fmt.Sprintf("k%d", i)
		set := s.set(key, value)
		s.equal(string(set.Value), value)
		got, ok := s.get(key)
		s.equal(ok, true)
		s.sameJSON(got.Value, value)
		set.Value, got.Value = nil, nil
		s.equal(got, set)
		s.equal(got, cloud.KVEntry{Key: key, Version: 1, UpdatedAt: s.now.Truncate(time.Microsecond)})
	}
	long := strings.Repeat("é", 100_000)
	s.set("long", `"`+long+`"`)
	got, _ := s.get("long")
	s.equal(string(got.Value), `"`+long+`"`)
}

func (s *suite) versions() {
	s.equal(s.set("k", `1`).Version, int64(1))
	s.equal(s.set("k", `2`).Version, int64(2))
	_, err := s.store.Increment(s.Context(), cloud.Cause{}, s.app, "c", "k", 1, s.now)
	s.must(err)
	e, _ := s.get("k")
	s.equal(e.Version, int64(3))
	_, err = s.store.Delete(s.Context(), cloud.Cause{}, s.app, "c", "k", s.now)
	s.must(err)
	s.equal(s.set("k", `4`).Version, int64(1))
}

func (s *suite) setIf(key, value string, version int64) (cloud.KVEntry, error) {
	return s.store.Set(s.Context(), cloud.Cause{}, s.app, "c", key, json.RawMessage(value), time.Time{}, &version, s.now)
}

func (s *suite) ifVersion() {
	_, err := s.setIf("k", `1`, 1)
	s.code(err, cloud.CodeConflict)
	e, err := s.setIf("k", `1`, 0)
	s.must(err)
	s.equal(e.Version, int64(1))
	_, err = s.setIf("k", `2`, 0)
	s.code(err, cloud.CodeConflict)
	e, err = s.setIf("k", `2`, 1)
	s.must(err)
	s.equal(e.Version, int64(2))
	_, err = s.setIf("k", `3`, 1)
	s.code(err, cloud.CodeConflict)
	got, _ := s.get("k")
	s.equal(string(got.Value), `2`)
}

func (s *suite) oneWinner() {
	for round := range int64(4) {
		errs := make([]error, 8)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() { _, errs[i] = s.setIf("k", fmt.Sprint(i), round) })
		}
		wg.Wait()
		winners := 0
		for _, err := range errs {
			if err == nil {
				winners++
			} else {
				s.code(err, cloud.CodeConflict)
			}
		}
		s.equal(winners, 1)
	}
	e, _ := s.get("k")
	s.equal(e.Version, int64(4))
}

func (s *suite) remove() {
	s.set("k", `1`)
	for _, want := range []bool{true, false} {
		was, err := s.store.Delete(s.Context(), cloud.Cause{}, s.app, "c", "k", s.now)
		s.must(err)
		s.equal(was, want)
	}
	_, ok := s.get("k")
	s.equal(ok, false)
}

func (s *suite) isolation() {
	ctx := s.Context()
	s.set("k", `"mine"`)
	for _, place := range [][2]string{{s.other, "c"}, {s.app, "d"}} {
		app, collection := place[0], place[1]
		_, ok, err := s.store.Get(ctx, app, collection, "k", s.now)
		s.must(err)
		s.equal(ok, false)
		many, err := s.store.GetMany(ctx, app, collection, []string{"k"}, s.now)
		s.must(err)
		s.equal(len(many), 0)
		page, err := s.store.List(ctx, app, collection, "", "", 10, true, s.now)
		s.must(err)
		s.equal(len(page), 0)
		was, err := s.store.Delete(ctx, cloud.Cause{}, app, collection, "k", s.now)
		s.must(err)
		s.equal(was, false)
		e, err := s.store.Set(ctx, cloud.Cause{}, app, collection, "k", json.RawMessage(`"theirs"`), time.Time{}, nil, s.now)
		s.must(err)
		s.equal(e.Version, int64(1))
	}
	names, err := s.store.Collections(ctx, s.other, "", 10, s.now)
	s.must(err)
	s.equal(names, []string{"c"})
	e, _ := s.get("k")
	s.equal(string(e.Value), `"mine"`)
}

func (s *suite) expiry() {
	ctx := s.Context()
	expires := s.now.Add(time.Minute)
	e, err := s.store.Set(ctx, cloud.Cause{}, s.app, "c", "k", json.RawMessage(`5`), expires, nil, s.now)
	s.must(err)
	s.equal(e.ExpiresAt, expires.Truncate(time.Microsecond))
	s.set("k", `5`)
	e, _ = s.get("k")
	s.equal(e.ExpiresAt, time.Time{}) // a set without expiry takes it away
	_, err = s.store.Set(ctx, cloud.Cause{}, s.app, "c", "k", json.RawMessage(`5`), expires, nil, s.now)
	s.must(err)

	s.now = s.now.Add(time.Minute - time.Millisecond)
	e, ok := s.get("k")
	s.equal(ok, true)
	s.equal(e.Version, int64(3))
	sum, err := s.store.Increment(ctx, cloud.Cause{}, s.app, "c", "k", 1, s.now)
	s.must(err)
	s.equal(sum, 6.0)
	e, _ = s.get("k")
	s.equal(e.ExpiresAt, expires.Truncate(time.Microsecond)) // increment keeps it

	s.now = expires
	_, ok = s.get("k")
	s.equal(ok, false)
	many, err := s.store.GetMany(ctx, s.app, "c", []string{"k"}, s.now)
	s.must(err)
	s.equal(len(many), 0)
	page, err := s.store.List(ctx, s.app, "c", "", "", 10, false, s.now)
	s.must(err)
	s.equal(len(page), 0)
	names, err := s.store.Collections(ctx, s.app, "", 10, s.now)
	s.must(err)
	s.equal(len(names), 0)
	_, err = s.setIf("k", `1`, 4)
	s.code(err, cloud.CodeConflict)
	e, err = s.setIf("k", `1`, 0)
	s.must(err)
	s.equal(e.Version, int64(1))

	for _, change := range []func() error{
		func() error {
			_, err := s.store.Increment(ctx, cloud.Cause{}, s.app, "c", "gone", 2, s.now)
			return err
		},
		func() error {
			_, err := s.store.Set(ctx, cloud.Cause{}, s.app, "c", "gone", json.RawMessage(`2`), time.Time{}, nil, s.now)
			return err
		},
	} {
		_, err = s.store.Set(ctx, cloud.Cause{}, s.app, "c", "gone", json.RawMessage(`"x"`), s.now, nil, s.now.Add(-time.Second))
		s.must(err)
		s.must(change())
		e, ok = s.get("gone")
		s.equal(ok, true)
		s.equal(e, cloud.KVEntry{Key: "gone", Value: json.RawMessage(`2`), Version: 1, UpdatedAt: s.now.Truncate(time.Microsecond)})
	}
	_, err = s.store.Set(ctx, cloud.Cause{}, s.app, "c", "gone", json.RawMessage(`1`), s.now, nil, s.now)
	s.must(err)
	was, err := s.store.Delete(ctx, cloud.Cause{}, s.app, "c", "gone", s.now)
	s.must(err)
	s.equal(was, false)
}

func (s *suite) increment() {
	want := 0.0
	for _, by := range []float64{1, 0.1, 0.2, -3, 1e21, 5e-324, -1e21, 123456789.123, 1 << 53, 1} {
		want += by
		got, err := s.store.Increment(s.Context(), cloud.Cause{}, s.app, "c", "k", by, s.now)
		s.must(err)
		s.equal(got, want)
		e, _ := s.get("k")
		var stored float64
		s.must(json.Unmarshal(e.Value, &stored))
		s.equal(stored, want)
	}
}

func (s *suite) incrementRefusals() {
	for _, value := range []string{`"1"`, `null`, `true`, `[1]`, `{}`} {
		s.set("k", value)
		_, err := s.store.Increment(s.Context(), cloud.Cause{}, s.app, "c", "k", 1, s.now)
		s.code(err, cloud.CodeInvalid)
		e, _ := s.get("k")
		s.equal(string(e.Value), value)
	}
	_, err := s.store.Increment(s.Context(), cloud.Cause{}, s.app, "c", "big", math.MaxFloat64, s.now)
	s.must(err)
	_, err = s.store.Increment(s.Context(), cloud.Cause{}, s.app, "c", "big", math.MaxFloat64, s.now)
	s.code(err, cloud.CodeInvalid)
	e, _ := s.get("big")
	s.equal(e.Version, int64(1))
}

func (s *suite) concurrentIncrements() {
	const goroutines, each = 8, 25
	errs := make(chan error, goroutines*each)
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range each {
				_, err := s.store.Increment(s.Context(), cloud.Cause{}, s.app, "c", "k", 1, s.now)
				errs <- err
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		s.must(err)
	}
	e, _ := s.get("k")
	s.equal(string(e.Value), fmt.Sprint(goroutines*each))
	s.equal(e.Version, int64(goroutines*each))
}

func (s *suite) getMany() {
	s.set("a", `1`)
	s.set("b", `2`)
	s.set("c", `3`)
	many, err := s.store.GetMany(s.Context(), s.app, "c", []string{"c", "x", "a"}, s.now)
	s.must(err)
	s.equal(slices.Sorted(slices.Values(s.keys(many))), []string{"a", "c"})
	for _, e := range many {
		got, _ := s.get(e.Key)
		s.equal(e, got)
	}
}

func (s *suite) list(prefix, after string, limit int) []string {
	s.Helper()
	page, err := s.store.List(s.Context(), s.app, "c", prefix, after, limit, false, s.now)
	s.must(err)
	for _, e := range page {
		s.equal(e.Value == nil, true)
	}
	return s.keys(page)
}

func (s *suite) listOrder() {
	want := []string{"!", "A", "Z", "a", "a b", "a/b", "aa", "é", "\uFFFD", "😀"}
	for _, key := range slices.Backward(want) {
		s.set(key, `1`)
	}
	s.equal(s.list("", "", 100), want)
	s.equal(s.list("", "", 3), want[:3])
	s.equal(s.list("", "Z", 3), want[3:6])
	s.equal(s.list("", "b", 100), want[7:]) // after a key that is not there
	page, err := s.store.List(s.Context(), s.app, "c", "", "", 1, true, s.now)
	s.must(err)
	e, _ := s.get("!")
	s.equal(page, []cloud.KVEntry{e})
}

func (s *suite) listPrefix() {
	for _, key := range []string{"a", "a%", "a%b", "ab", "a_", "a\\", "b", "\U0010FFFF", "\U0010FFFFx", "x\U0010FFFF", "x\U0010FFFFy", "y", "\uD7FF1", "\uE000"} {
		s.set(key, `1`)
	}
	for prefix, want := range map[string][]string{
		"a%":           {"a%", "a%b"},
		"a_":           {"a_"},
		"a\\":          {"a\\"},
		"zz":           {},
		"x\U0010FFFF":  {"x\U0010FFFF", "x\U0010FFFFy"},
		"\U0010FFFF":   {"\U0010FFFF", "\U0010FFFFx"},
		"\uD7FF":       {"\uD7FF1"},
		"a%b":          {"a%b"},
		"x\U0010FFFFy": {"x\U0010FFFFy"},
	} {
		s.equal(s.list(prefix, "", 100), want)
	}
	s.equal(s.list("a", "a%", 2), []string{"a%b", "a\\"})
}

func (s *suite) listWhileWriting() {
	const stay = 60
	var want []string
	for i := range stay {
		key := fmt.Sprintf("stay-%03d", i)
		want = append(want, key)
		s.set(key, `1`)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	errs := make(chan error, 3)
	for w := range 3 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				key := fmt.Sprintf("stay-%03d-%d", (i*7)%stay, w)
				_, err := s.store.Set(s.Context(), cloud.Cause{}, s.app, "c", key, json.RawMessage(`1`), time.Time{}, nil, s.now)
				if err == nil && i%2 == 1 {
					_, err = s.store.Delete(s.Context(), cloud.Cause{}, s.app, "c", key, s.now)
				}
				if err == nil { // and change one that stays
					_, err = s.store.Set(s.Context(), cloud.Cause{}, s.app, "c", want[i%stay], json.RawMessage(`2`), time.Time{}, nil, s.now)
				}
				if err != nil {
					errs <- err
					return
				}
			}
		})
	}
	for range 3 {
		var got []string
		for after := ""; ; {
			keys := s.list("", after, 7)
			for _, key := range keys {
				if len(key) == len("stay-000") {
					got = append(got, key)
				}
			}
			if len(keys) < 7 {
				break
			}
			after = keys[len(keys)-1]
		}
		s.equal(got, want)
	}
	close(stop)
	wg.Wait()
	select {
	case err := <-errs:
		s.Fatal(err)
	default:
	}
}

func (s *suite) collections() {
	for _, name := range []string{"b", "a", "é", "B", "a"} {
		_, err := s.store.Increment(s.Context(), cloud.Cause{}, s.app, name, "k", 1, s.now)
		s.must(err)
		_, err = s.store.Increment(s.Context(), cloud.Cause{}, s.app, name, "k2", 1, s.now)
		s.must(err)
	}
	for _, c := range []struct {
		after string
		limit int
		want  []string
	}{
		{"", 10, []string{"B", "a", "b", "é"}},
		{"", 2, []string{"B", "a"}},
		{"a", 10, []string{"b", "é"}},
		{"aa", 1, []string{"b"}},
		{"é", 10, nil},
	} {
		got, err := s.store.Collections(s.Context(), s.app, c.after, c.limit, s.now)
		s.must(err)
		if len(got)+len(c.want) > 0 {
			s.equal(got, c.want)
		}
	}
}

func (s *suite) sweep() {
	for i := range 5 {
		_, err := s.store.Set(s.Context(), cloud.Cause{}, s.app, "c", fmt.Sprint(i), json.RawMessage(`1`), s.now.Add(time.Duration(i)*time.Second), nil, s.now)
		s.must(err)
	}
	s.set("stays", `1`)
	s.now = s.now.Add(3 * time.Second)
	for _, want := range []int{3, 1, 0} {
		n, err := s.store.Sweep(s.Context(), s.now, 3)
		s.must(err)
		s.equal(n, want)
	}
	s.equal(s.list("", "", 10), []string{"4", "stays"})
}
