//go:build linux

package sandbox

import (
	"fmt"
	"io"

	"github.com/landlock-lsm/go-landlock/landlock"
	abi "github.com/landlock-lsm/go-landlock/landlock/syscall"
)

// restrictAccess takes away all files, TCP ports, and signals and abstract
// sockets of others, as far as the kernel's Landlock knows how (files since
// Linux 5.13, ports since 6.7, the rest since 6.12).
func restrictAccess(notice io.Writer) error {
	if version, _ := abi.LandlockGetABIVersion(); version < 1 { // 0 with any error
		fmt.Fprintln(notice, "sandbox: this kernel has no Landlock; the seccomp filter alone keeps files away")
		return nil
	}
	return landlock.V8.BestEffort().Restrict()
}
