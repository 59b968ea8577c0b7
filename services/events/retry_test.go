package events

import (
	"math"
	"testing"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

func TestPause(t *testing.T) {
	t.Parallel()
	const s = time.Second
	for _, test := range []struct {
		name   string
		policy cloud.RetryPolicy
		want   []time.Duration // after the first attempt, the second and so on
	}{
		{"exponential", cloud.RetryPolicy{Backoff: cloud.Exponential, Base: s, Cap: 10 * s}, []time.Duration{s, 2 * s, 4 * s, 8 * s, 10 * s, 10 * s}},
		{"linear", cloud.RetryPolicy{Backoff: cloud.Linear, Base: 3 * s, Cap: 10 * s}, []time.Duration{3 * s, 6 * s, 9 * s, 10 * s, 10 * s}},
		{"constant", cloud.RetryPolicy{Backoff: cloud.Constant, Base: 3 * s, Cap: 10 * s}, []time.Duration{3 * s, 3 * s, 3 * s}},
		{"no more than the cap", cloud.RetryPolicy{Backoff: cloud.Exponential, Base: 24 * time.Hour, Cap: 24 * time.Hour}, []time.Duration{24 * time.Hour, 24 * time.Hour}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for i, want := range test.want {
				if got := pause(test.policy, i+1, 0.5); got != want {
					t.Errorf("after attempt %d: %s, want %s", i+1, got, want)
				}
				if least := pause(test.policy, i+1, 0); least != want*8/10 {
					t.Errorf("after attempt %d: at least %s, want %s", i+1, least, want*8/10)
				}
				if most := pause(test.policy, i+1, math.Nextafter(1, 0)); most > want*12/10 || most < want*119/100 {
					t.Errorf("after attempt %d: at most %s, want nearly %s", i+1, most, want*12/10)
				}
			}
		})
	}
}

func TestCheckRetry(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name      string
		got, want cloud.RetryPolicy
		field     string // that is refused
	}{
		{name: "nothing", want: cloud.DefaultRetry},
		{name: "attempts alone", got: cloud.RetryPolicy{Attempts: 1}, want: cloud.RetryPolicy{Attempts: 1, Backoff: cloud.Exponential, Base: time.Second, Cap: time.Hour}},
		{name: "a long base lifts the cap", got: cloud.RetryPolicy{Base: 5 * time.Hour}, want: cloud.RetryPolicy{Attempts: 5, Backoff: cloud.Exponential, Base: 5 * time.Hour, Cap: 5 * time.Hour}},
		{name: "a short cap lowers the base", got: cloud.RetryPolicy{Cap: 200 * time.Millisecond}, want: cloud.RetryPolicy{Attempts: 5, Backoff: cloud.Exponential, Base: 200 * time.Millisecond, Cap: 200 * time.Millisecond}},
		{name: "the most", got: cloud.RetryPolicy{Attempts: 20, Backoff: cloud.Linear, Base: 24 * time.Hour, Cap: 24 * time.Hour}, want: cloud.RetryPolicy{Attempts: 20, Backoff: cloud.Linear, Base: 24 * time.Hour, Cap: 24 * time.Hour}},
		{name: "negative attempts", got: cloud.RetryPolicy{Attempts: -1}, field: "retry.attempts"},
		{name: "too many attempts", got: cloud.RetryPolicy{Attempts: 21}, field: "retry.attempts"},
		{name: "no such backoff", got: cloud.RetryPolicy{Backoff: "random"}, field: "retry.backoff"},
		{name: "too short a base", got: cloud.RetryPolicy{Base: time.Millisecond}, field: "retry.base_ms"},
		{name: "a negative base", got: cloud.RetryPolicy{Base: -time.Hour}, field: "retry.base_ms"},
		{name: "a base over the cap", got: cloud.RetryPolicy{Base: time.Minute, Cap: time.Second}, field: "retry.base_ms"},
		{name: "too long a cap", got: cloud.RetryPolicy{Cap: 25 * time.Hour}, field: "retry.cap_ms"},
		{name: "too long a base", got: cloud.RetryPolicy{Base: 25 * time.Hour}, field: "retry.cap_ms"},
		{name: "a negative cap", got: cloud.RetryPolicy{Cap: -time.Hour}, field: "retry.cap_ms"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := CheckRetry(test.got)
			if test.field != "" {
				wantInvalid(t, err, test.field)
				return
			}
			if err != nil || got != test.want {
				t.Errorf("got %+v (error %v), want %+v", got, err, test.want)
			}
		})
	}
}

// FuzzPause shows that no policy that is allowed leads to a pause out of bounds.
func FuzzPause(f *testing.F) {
	f.Add(5, "exponential", int64(time.Second), int64(time.Hour), 1, 0.5)
	f.Add(20, "linear", int64(maxCap), int64(maxCap), 20, 0.0)
	f.Add(20, "exponential", int64(minBase), int64(maxCap), 20, 0.99)
	f.Fuzz(func(t *testing.T, attempts int, backoff string, base, limit int64, attempt int, random float64) {
		p, err := CheckRetry(cloud.RetryPolicy{Attempts: attempts, Backoff: cloud.Backoff(backoff), Base: time.Duration(base), Cap: time.Duration(limit)})
		if err != nil || attempt < 1 || attempt > p.Attempts || !(random >= 0 && random < 1) {
			return
		}
		if got := pause(p, attempt, random); got < p.Base*8/10 || got > p.Cap*12/10 {
			t.Errorf("%+v: %s after attempt %d", p, got, attempt)
		}
		if again, err := CheckRetry(p); err != nil || again != p {
			t.Errorf("%+v becomes %+v (error %v) when it is checked again", p, again, err)
		}
	})
}
