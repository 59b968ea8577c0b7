package events

import (
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/picloud/picloud/services/cloud"
)

// parser reads 5 fields, 6 with seconds first, or a descriptor such as @hourly.
var parser = cron.NewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)

// minEvery bounds how often a schedule may run; the parser would round it up.
const minEvery = time.Second

// everyHour is the bit that says that a field of a schedule was *.
const everyHour = 1 << 63

// schedule tells when something runs.
//
// One that names hours means the clock on the wall: where the clock goes forward
// over the time, it runs at the end of the gap; where it goes back, it runs the
// first time alone. One that runs every hour, or in intervals, means time that
// passes, and takes no note of the clock on the wall going forward or back.
type schedule struct {
	spec   cron.Schedule
	zone   *time.Location
	onWall bool
}

// parseSchedule reads a schedule. CodeInvalid about "schedule" or "time_zone".
func parseSchedule(text, zone string) (schedule, error) {
	location, err := time.LoadLocation(zone)
	if err != nil || zone == "Local" {
		return schedule{}, cloud.Invalid("time_zone", "%q is no time zone that is known here, such as Europe/Berlin", zone)
	}
	if strings.HasPrefix(text, "TZ=") || strings.HasPrefix(text, "CRON_TZ=") {
		return schedule{}, cloud.Invalid("schedule", "name the time zone in time_zone")
	}
	if every, ok := strings.CutPrefix(text, "@every "); ok {
		if d, err := time.ParseDuration(every); err == nil && d < minEvery {
			return schedule{}, cloud.Invalid("schedule", "%q is more often than every %s", text, minEvery)
		}
	}
	spec, err := parser.Parse(text)
	if err != nil {
		return schedule{}, cloud.Invalid("schedule", "%q: %v; write 5 fields (minute hour day month weekday), 6 with seconds first, or a word such as @hourly", text, err)
	}
	s := schedule{spec: spec, zone: location}
	if fields, ok := spec.(*cron.SpecSchedule); ok {
		s.onWall = fields.Hour&everyHour == 0
		fields.Location = location
		if s.onWall {
			fields.Location = time.UTC // where no hour is missing and none comes twice
		}
	}
	return s, nil
}

// next is the first run after a moment; zero if there is none in years.
func (s schedule) next(after time.Time) time.Time {
	if !s.onWall {
		return s.spec.Next(after.In(s.zone)).UTC()
	}
	for wall := onWall(after.In(s.zone)); ; {
		if wall = s.spec.Next(wall); wall.IsZero() {
			return time.Time{}
		}
		// What came once already, before the clock went back, is not after.
		if t := s.offWall(wall); t.After(after) {
			return t.UTC()
		}
	}
}

// onWall is what a clock on the wall shows at t, as if it hung in UTC.
func onWall(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// offWall is when the clock on the wall shows wall for the first time, or, if it
// never does, when it first shows more.
func (s schedule) offWall(wall time.Time) time.Time {
	t := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), wall.Nanosecond(), s.zone)
	start, end := t.ZoneBounds()
	if shown := onWall(t); shown.Equal(wall) {
		// It may have been shown before the last change already.
		if !start.IsZero() {
			_, offset := t.Zone()
			_, before := start.Add(-1).Zone()
			if earlier := t.Add(time.Duration(offset-before) * time.Second); earlier.Before(start) {
				return earlier
			}
		}
		return t
	} else if shown.Before(wall) {
		return end // the gap begins where the zone that t was read in ends
	}
	return start
}

// Next is when a cron trigger with this filter runs for the first time after a
// moment. CodeInvalid about "schedule" or "time_zone", also if it never does.
func Next(filter cloud.TriggerFilter, after time.Time) (time.Time, error) {
	s, err := parseSchedule(filter.Schedule, filter.TimeZone)
	if err != nil {
		return time.Time{}, err
	}
	at := s.next(after)
	if at.IsZero() {
		return at, cloud.Invalid("schedule", "%q never comes", filter.Schedule)
	}
	return at, nil
}
