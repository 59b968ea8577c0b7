package sleep

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud/services/cloud"
)

// firstSocket is the descriptor of the first socket that systemd hands over
// (sd_listen_fds(3)).
const firstSocket = 3

// Cause tells why systemd has started this process: a timer, or a connection that
// waits on one of its sockets. It is "" if neither did. Call it before any socket is
// served.
func Cause() cloud.WakeCause {
	return cause(os.Getenv, os.Getpid(), func(fd int) bool {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(poll, 0)
		return err == nil && n == 1 && poll[0].Revents&unix.POLLIN != 0
	})
}

func cause(env func(string) string, pid int, waits func(fd int) bool) cloud.WakeCause {
	// systemd.exec(5): set for timers since systemd 252, but never for sockets.
	if strings.HasSuffix(env("TRIGGER_UNIT"), ".timer") {
		return cloud.WokenBySchedule
	}
	if env("LISTEN_PID") != strconv.Itoa(pid) {
		return ""
	}
	sockets, err := strconv.Atoi(env("LISTEN_FDS"))
	if err != nil {
		return ""
	}
	for i := range min(sockets, 64) {
		if waits(firstSocket + i) {
			return cloud.WokenByRequest
		}
	}
	return ""
}

// BootID names this run of the machine's kernel; "" if it cannot be told.
func BootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}
