package orchestrator

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"hash/crc32"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

// snapshotOf is a snapshot in a folder of the test.
func snapshotOf(t testing.TB) Snapshot {
	t.Helper()
	return Snapshot{Path: filepath.Join(t.TempDir(), "apps"), Of: "this"}
}

// fullState has a value in everything that an app can have.
func fullState(id string) cloud.AppState {
	day := time.Date(2026, 11, 24, 1, 2, 3, 4000, time.UTC)
	return cloud.AppState{
		App:         cloud.App{ID: id, Slug: "shop", Name: "Shop", CreatedAt: day, UpdatedAt: day.Add(time.Hour)},
		FormerSlugs: []string{"store"},
		Domains:     []cloud.Domain{{ID: "d", AppID: id, Host: "*.example.com", CreatedAt: day}},
		Routes:      []cloud.Route{{ID: "r", AppID: id, ScriptID: "s", Method: "GET", Host: "a.example.com", Path: "/x/:y", Mode: cloud.Async}},
		Scripts: []cloud.Runnable{{
			ID: "s", AppID: id, Name: "s", Version: 7, Limits: cloud.DefaultLimits,
			Build: &cloud.Build{Code: "() => '\x00ä'", SourceMap: []byte("{}\xff"), Hash: "00", Exports: []string{"default"}, Imports: []string{"lib"}},
		}},
		Env: []cloud.EnvValue{{Name: "GREETING", Value: "hello"}, secret(id, "TOKEN", "abracadabra")},
	}
}

func TestSnapshot(t *testing.T) {
	t.Parallel()
	s := snapshotOf(t)
	if err := s.remove(); err != nil || s.holds(nil) {
		t.Errorf("without a file: %v", err)
	}
	states := []cloud.AppState{fullState("2"), {App: cloud.App{ID: "1"}}}
	if err := s.write(states); err != nil {
		t.Fatal(err)
	}
	got, err := s.read()
	if want := []cloud.AppState{states[1], states[0]}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if info, err := os.Stat(s.Path); err != nil || info.Mode() != 0o600 {
		t.Errorf("the file: %v, %v", info.Mode(), err)
	}
	if !s.holds(got) || !s.holds(states) || s.holds(states[:1]) {
		t.Error("what the file holds is not told")
	}
	if err := s.remove(); err != nil || s.holds(states) {
		t.Errorf("after its removal: %v", err)
	}
	if left, err := os.ReadDir(filepath.Dir(s.Path)); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// A field that is added must be seen here: what a program reads that does not
// know it is refused by Of, and what has none in the test is not shown to be kept.
func TestSnapshot_keepsEverything(t *testing.T) {
	t.Parallel()
	var check func(path string, v reflect.Value)
	check = func(path string, v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer:
			if !v.IsNil() {
				check(path, v.Elem())
			}
		case reflect.Slice:
			if v.Len() == 0 {
				t.Errorf("%s has no value in the test", path)
			}
			if v.Type().Elem().Kind() == reflect.Struct {
				check(path, v.Index(0))
			}
		case reflect.Struct:
			if v.Type() == reflect.TypeFor[time.Time]() || v.Type() == reflect.TypeFor[cloud.EnvValue]() {
				return
			}
			for f, field := range v.Fields() {
				check(path+"."+f.Name, field)
			}
		default:
			if v.IsZero() {
				t.Errorf("%s has no value in the test", path)
			}
		}
	}
	check("AppState", reflect.ValueOf(fullState("1")))
}

func TestSnapshot_refuses(t *testing.T) {
	t.Parallel()
	s := snapshotOf(t)
	good, err := s.encode([]cloud.AppState{fullState("1")})
	if err != nil {
		t.Fatal(err)
	}
	flipped := slices.Clone(good)
	flipped[len(flipped)/2] ^= 1
	for name, tt := range map[string]struct {
		of   string
		text []byte
		want string
	}{
		"another database's":       {"that", good, "it is of this, this is that"},
		"a changed bit":            {"this", flipped, "damaged"},
		"a file cut short":         {"this", good[:len(good)-1], "damaged"},
		"no more than a beginning": {"this", good[:len(snapshotMagic)+3], "damaged"},
		"zeros":                    {"this", make([]byte, 4096), "no snapshot of this format"},
		"nothing":                  {"this", nil, "no snapshot of this format"},
		"an older format":          {"this", append([]byte("PiCloud apps 0\n"), good[len(snapshotMagic):]...), "no snapshot of this format"},
		"no apps":                  {"this", sealed(t, "this"), "EOF"},
	} {
		states, err := Snapshot{Of: tt.of}.decode(tt.text)
		if states != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, %v, want an error with %q", name, states, err, tt.want)
		}
	}
}

// sealed is a file of these values with a right checksum.
func sealed(t testing.TB, values ...any) []byte {
	t.Helper()
	var b bytes.Buffer
	enc := gob.NewEncoder(&b)
	for _, v := range values {
		if err := enc.Encode(v); err != nil {
			t.Fatal(err)
		}
	}
	return withHead(b.Bytes())
}

func withHead(rest []byte) []byte {
	text := binary.BigEndian.AppendUint32([]byte(snapshotMagic), crc32.Checksum(rest, castagnoli))
	return append(text, rest...)
}

// FuzzSnapshot reads what may be in the file, with a right checksum: it is refused,
// or a catalog can begin with it.
func FuzzSnapshot(f *testing.F) {
	s := Snapshot{Of: "this"}
	good, err := s.encode([]cloud.AppState{fullState("1"), {App: cloud.App{ID: "2", Slug: cloud.DefaultApp}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good[len(snapshotMagic)+crc32.Size:])
	f.Add(sealed(f, "this", []cloud.AppState{{Scripts: []cloud.Runnable{{ID: "x"}}, Env: []cloud.EnvValue{{Secret: &cloud.Sealed{}}}}})[len(snapshotMagic)+crc32.Size:])
	f.Fuzz(func(t *testing.T, rest []byte) {
		states, err := s.decode(withHead(rest))
		if err != nil {
			return
		}
		c := NewCatalog(CatalogConfig{Sealer: openSealer{"k1"}, Logger: slog.New(slog.DiscardHandler)})
		if c.replace(states, false) == nil {
			_, _, _ = c.Match("1", "GET", "/x/y")
		}
	})
}

// sleeper is a source, and a snapshot for the catalogs that use it one after the
// other. log is what they log.
type sleeper struct {
	*fakeSource
	snapshot Snapshot
	log      bytes.Buffer
}

func newSleeper(t *testing.T) *sleeper {
	t.Helper()
	s := &sleeper{fakeSource: &fakeSource{apps: map[string]cloud.AppState{}, events: make(chan string)}, snapshot: snapshotOf(t)}
	s.set("shop", "/a")
	return s
}

// wake starts a catalog. It must be stopped.
func (s *sleeper) wake() *Catalog {
	c := NewCatalog(CatalogConfig{
		Source: s, Sealer: openSealer{"k1"}, Snapshot: s.snapshot,
		Logger: slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	c.Start()
	return c
}

var errAway = cloud.Errorf(cloud.CodeUnavailable, "away")

func TestCatalog_beginsWithTheSnapshot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSleeper(t)
		s.set("gone", "/a")
		s.apps["shop"] = withEnv(s.apps["shop"], "old")
		c := s.wake()
		<-c.Loaded()
		c.Stop()

		// While nothing runs, another process changes things; then the database is
		// slower than this one.
		s.set("shop", "/b")
		delete(s.apps, "gone")
		s.fail(errAway)
		c = s.wake()
		defer c.Stop()
		<-c.Loaded()
		if !knows(c, "shop", "/a") || !knows(c, "gone", "/a") || string(c.current().apps["shop"].env.Payload()) != `{"V":"old"}` {
			t.Error("the snapshot does not serve")
		}
		time.Sleep(startPatience / 2)
		s.fail(nil)
		time.Sleep(startPatience / 4)
		synctest.Wait()
		if knows(c, "shop", "/a") || !knows(c, "shop", "/b") || knows(c, "gone", "/a") {
			t.Error("what the database has was not taken over")
		}
		time.Sleep(time.Hour)
		if !knows(c, "shop", "/b") {
			t.Error("what the database has does not last")
		}
	})
}

// Without the database what a snapshot says is not believed for long.
func TestCatalog_snapshotAges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSleeper(t)
		c := s.wake()
		<-c.Loaded()
		c.Stop()
		s.fail(errAway)
		c = s.wake()
		<-c.Loaded()
		d := &Dispatcher{Catalog: c}
		time.Sleep(startPatience - time.Millisecond)
		if plan, w := dispatch(t, d, "GET", "http://shop.local/a", ""); w.Code == http.StatusServiceUnavailable {
			t.Errorf("in time: %v, %d", plan, w.Code)
		}
		time.Sleep(time.Millisecond)
		if _, w := dispatch(t, d, "GET", "http://shop.local/a", ""); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "1" {
			t.Errorf("too late: %d %v", w.Code, w.Header())
		}
		c.Stop()
		if _, err := s.snapshot.read(); err != nil {
			t.Errorf("the next start has none: %v", err)
		}
	})
}

// The snapshot is written when there is something new, and is never older than
// what a process has served.
func TestCatalog_keepsTheSnapshot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSleeper(t)
		written := func() os.FileInfo {
			info, err := os.Stat(s.snapshot.Path)
			if err != nil {
				return nil
			}
			return info
		}
		c := s.wake()
		<-c.Loaded()
		synctest.Wait()
		if written() != nil {
			t.Error("written before the end")
		}
		c.Stop()
		first := written()
		if first == nil {
			t.Fatal("not written at the end")
		}
		c.Stop()
		c = s.wake()
		synctest.Wait()
		if written() == nil {
			t.Error("removed though nothing changed")
		}
		c.Stop()
		if now := written(); !os.SameFile(first, now) {
			t.Error("written again though nothing changed")
		}

		c = s.wake()
		s.set("shop", "/b")
		s.events <- "shop"
		synctest.Wait()
		if written() != nil {
			t.Error("a change left an old snapshot")
		}
		c.Stop()
		if states, err := s.snapshot.read(); err != nil || len(states) != 1 || states[0].Routes[0].Path != "/b" {
			t.Errorf("the change was not kept: %+v, %v", states, err)
		}

		s.set("shop", "/c")
		c = s.wake()
		synctest.Wait()
		if written() != nil {
			t.Error("a change of before the start left an old snapshot")
		}
		c.Stop()
		if s.log.Len() > 0 {
			t.Errorf("logged: %s", &s.log)
		}
	})
}

func TestCatalog_ignoresWhatIsNoSnapshot(t *testing.T) {
	t.Parallel()
	other, err := Snapshot{Of: "that"}.encode([]cloud.AppState{fullState("1")})
	if err != nil {
		t.Fatal(err)
	}
	foreign := fullState("1")
	foreign.Env = []cloud.EnvValue{{Name: "TOKEN", Secret: &cloud.Sealed{KeyID: "k2"}}}
	lost, err := Snapshot{Of: "this"}.encode([]cloud.AppState{foreign})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"damaged": []byte("x"), "another's": other, "of a lost key": lost} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newSleeper(t)
				if err := os.WriteFile(s.snapshot.Path, text, 0o600); err != nil {
					t.Fatal(err)
				}
				s.fail(errAway)
				c := s.wake()
				synctest.Wait()
				if c.table.Load() != nil {
					t.Error("it was used")
				}
				if got := s.log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "snapshot is not used") {
					t.Errorf("logged %q", got)
				}
				s.fail(nil)
				<-c.Loaded()
				c.Stop()
				if states, err := s.snapshot.read(); err != nil || len(states) != 1 || states[0].App.ID != "shop" {
					t.Errorf("it was not replaced: %+v, %v", states, err)
				}
			})
		})
	}
}

// A folder that takes no file costs a line in the log.
func TestCatalog_cannotKeepTheSnapshot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSleeper(t)
		s.snapshot.Path = filepath.Join(s.snapshot.Path, "missing", "apps")
		c := s.wake()
		<-c.Loaded()
		c.Stop()
		if got := s.log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "the snapshot was not written") {
			t.Errorf("logged %q", got)
		}
	})
}
