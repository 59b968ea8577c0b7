package events

import (
	"errors"
	"testing"
	"time"

	"github.com/picloud/picloud/services/cloud"
)

func TestNext(t *testing.T) {
	for _, test := range []struct {
		name           string
		schedule, zone string
		after          string
		want           []string // the runs that follow each other
	}{
		{"every minute", "* * * * *", "", "2026-03-01T10:00:30Z", []string{"2026-03-01T10:01:00Z", "2026-03-01T10:02:00Z"}},
		{"seconds", "*/20 * * * * *", "", "2026-03-01T10:00:30Z", []string{"2026-03-01T10:00:40Z", "2026-03-01T10:01:00Z"}},
		{"a word", "@daily", "", "2026-03-01T10:00:30Z", []string{"2026-03-02T00:00:00Z"}},
		{"an interval", "@every 90m", "", "2026-03-01T10:00:30Z", []string{"2026-03-01T11:30:30Z"}},
		{"a time zone", "0 9 * * MON-FRI", "Asia/Kolkata", "2026-03-06T12:00:00Z", []string{"2026-03-09T03:30:00Z"}},
		{"the 29th of February", "0 0 29 2 *", "", "2026-03-01T00:00:00Z", []string{"2028-02-29T00:00:00Z"}},

		// Berlin: 2026-03-29 02:00 CET becomes 03:00 CEST, 2026-10-25 03:00 CEST becomes 02:00 CET.
		{"in the gap", "30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", []string{"2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"}},
		{"twice in the gap", "15,45 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", []string{"2026-03-29T01:00:00Z", "2026-03-30T00:15:00Z"}},
		{"beside the gap", "30 1,3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", []string{"2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z"}},
		{"in the overlap", "30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", []string{"2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"}},
		{"after its first time in the overlap", "30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", []string{"2026-10-26T01:30:00Z"}},
		{"every half hour over the gap", "*/30 * * * *", "Europe/Berlin", "2026-03-29T00:20:00Z", []string{"2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"}},
		{"every half hour in the overlap", "*/30 * * * *", "Europe/Berlin", "2026-10-25T00:20:00Z", []string{"2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z"}},
		// Lord Howe Island moves by half an hour: 2026-10-04 02:00 becomes 02:30.
		{"in a gap of half an hour", "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", []string{"2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			at, err := time.Parse(time.RFC3339, test.after)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range test.want {
				if at, err = Next(cloud.TriggerFilter{Schedule: test.schedule, TimeZone: test.zone}, at); err != nil {
					t.Fatal(err)
				}
				if got := at.Format(time.RFC3339); got != want {
					t.Fatalf("got %s, want %s", got, want)
				}
			}
		})
	}
}

func TestNext_refuses(t *testing.T) {
	for _, test := range []struct{ schedule, zone, field string }{
		{"", "", "schedule"},
		{"* * * *", "", "schedule"},
		{"61 * * * *", "", "schedule"},
		{"0 0 30 2 *", "", "schedule"},
		{"@reboot", "", "schedule"},
		{"@every 10ms", "", "schedule"},
		{"TZ=Europe/Berlin 0 9 * * *", "", "schedule"},
		{"0 9 * * *", "Mars/Olympus", "time_zone"},
		{"0 9 * * *", "Local", "time_zone"},
		{"0 9 * * *", "../../etc/passwd", "time_zone"},
	} {
		_, err := Next(cloud.TriggerFilter{Schedule: test.schedule, TimeZone: test.zone}, time.Now())
		e, ok := errors.AsType[*cloud.Error](err)
		if !ok || e.Code != cloud.CodeInvalid || e.Field != test.field {
			t.Errorf("%q in %q: %v, want invalid about %s", test.schedule, test.zone, err, test.field)
		}
	}
}

// FuzzNext shows that schedules only go forward, whatever the zone does.
func FuzzNext(f *testing.F) {
	f.Add("30 2 * * *", "Europe/Berlin", int64(1774742400))
	f.Add("*/7 1-3 * * *", "America/New_York", int64(1793500000))
	f.Add("@every 1h", "", int64(0))
	f.Add("0 0 1 1 *", "Australia/Lord_Howe", int64(1790000000))
	f.Fuzz(func(t *testing.T, text, zone string, unix int64) {
		after := time.Unix(unix%4e9, 0)
		for range 5 {
			at, err := Next(cloud.TriggerFilter{Schedule: text, TimeZone: zone}, after)
			if err != nil {
				return
			}
			if !at.After(after) {
				t.Fatalf("%q in %q: after %s comes %s", text, zone, after, at)
			}
			after = at
		}
	})
}
