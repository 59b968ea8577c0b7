package sleep

import (
	"os"
	"strconv"
	"testing"

	"github.com/picloud/picloud/services/cloud"
)

func TestCause(t *testing.T) {
	t.Parallel()
	const pid = 77
	for name, tt := range map[string]struct {
		env   map[string]string
		waits map[int]bool // sockets with a connection
		want  cloud.WakeCause
	}{
		"a timer":               {map[string]string{"TRIGGER_UNIT": "picloud-wake.timer", "LISTEN_PID": "77", "LISTEN_FDS": "2"}, nil, cloud.WokenBySchedule},
		"a connection":          {map[string]string{"LISTEN_PID": "77", "LISTEN_FDS": "2"}, map[int]bool{4: true}, cloud.WokenByRequest},
		"no connection":         {map[string]string{"LISTEN_PID": "77", "LISTEN_FDS": "2"}, map[int]bool{5: true}, ""},
		"another's sockets":     {map[string]string{"LISTEN_PID": "78", "LISTEN_FDS": "2"}, map[int]bool{3: true}, ""},
		"no sockets":            {nil, map[int]bool{3: true}, ""},
		"sockets beyond number": {map[string]string{"LISTEN_PID": "77", "LISTEN_FDS": "x"}, map[int]bool{3: true}, ""},
		"another trigger":       {map[string]string{"TRIGGER_UNIT": "x.path", "LISTEN_PID": "77", "LISTEN_FDS": "1"}, map[int]bool{3: true}, cloud.WokenByRequest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := cause(func(name string) string { return tt.env[name] }, pid, func(fd int) bool { return tt.waits[fd] })
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	if got := Cause(); got != "" {
		t.Errorf("of this test it says %q", got)
	}
}

func TestMeter(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"cpu.stat": "usage_usec 1500000\nuser_usec 1\nsystem_usec 2\n",
		"io.stat":  "179:0 rbytes=1 wbytes=4096 rios=1 wios=2 dbytes=0 dios=0\n253:0 rbytes=1 wbytes=4000 rios=1\n",
	} {
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	u := Meter{DatabaseCgroup: dir}.Read()
	if u.DatabaseCPU == nil || u.DatabaseCPU.Milliseconds() != 1500 || u.DatabaseWritten == nil || *u.DatabaseWritten != 4096 {
		t.Errorf("of the database: %v %v", u.DatabaseCPU, u.DatabaseWritten)
	}
	if u.CPU <= 0 {
		t.Errorf("this process has used %v", u.CPU)
	}
	none := Meter{DatabaseCgroup: dir + "/none"}.Read()
	if none.DatabaseCPU != nil || none.DatabaseWritten != nil {
		t.Errorf("of no database: %v %v", none.DatabaseCPU, none.DatabaseWritten)
	}
	if later := (Meter{}).Read(); later.CPU < u.CPU || later.Written < u.Written {
		t.Errorf("%+v came after %+v", later, u)
	}
}

func FuzzParseMoment(f *testing.F) {
	now := clocksSet.AddDate(1, 0, 0)
	for _, s := range []string{"1800000000\n", "", "x", "-5", "99999999999999999999", "1800000000\n\n", "+1800000000", "0x10"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		at, err := parseMoment(text, now)
		if err != nil {
			return
		}
		if at.Before(clocksSet) || at.After(now.Add(farthest)) {
			t.Errorf("%q is %v", text, at)
		}
		if again, err := parseMoment(strconv.FormatInt(at.Unix(), 10)+"\n", now); err != nil || !again.Equal(at) {
			t.Errorf("%q is %v, written again %v, %v", text, at, again, err)
		}
	})
}
