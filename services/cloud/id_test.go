package cloud

import (
	"strings"
	"testing"
	"time"
)

func TestNewID_Sorts(t *testing.T) {
	last := NewID()
	if last[14] != '7' || !strings.ContainsRune("89ab", rune(last[19])) {
		t.Errorf("%s is no UUIDv7", last)
	}
	for range 10_000 {
		next := NewID()
		if next <= last || !IsID(next) {
			t.Fatalf("%s follows %s", next, last)
		}
		last = next
	}
}

func TestFirstID(t *testing.T) {
	before := FirstID(time.Now().Add(-time.Millisecond))
	id := NewID()
	after := FirstID(time.Now().Add(time.Minute))
	if !IsID(before) || before >= id || id >= after {
		t.Errorf("%s, %s, %s do not follow each other", before, id, after)
	}
}

func TestIsID(t *testing.T) {
	for s, want := range map[string]bool{NewID(): true, "": false, "0192-": false, "01a20a21-d816-7b60-bf7f-4d494c9535fg": false} {
		if IsID(s) != want {
			t.Errorf("%q: %v", s, !want)
		}
	}
}
