//go:build linux

package sandbox

import (
	"os"
	"slices"

	"github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"
)

// allowed are the system calls that the Go runtime makes once it is up, and
// those for reading and writing descriptors that are open. The C library's are
// among them for builds with cgo. Names that an architecture lacks are skipped.
var allowed = []string{
	// descriptors
	"read", "write", "readv", "writev", "pread64", "close", "fcntl", "fstat",
	"recvfrom", "recvmsg", "sendto", "sendmsg", "shutdown", "getsockopt", "getsockname", "getpeername",
	"epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "eventfd2", "pipe2",
	// memory
	"munmap", "madvise", "mincore", "mremap", "brk",
	// threads and signals
	"futex", "sched_yield", "sched_getaffinity", "gettid", "getpid", "set_robust_list", "set_tid_address", "rseq",
	"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall", "membarrier",
	// time and the rest
	"clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time", "getrusage",
	"getrandom", "exit", "exit_group",
}

// evil are system calls that neither a script nor the runtime can cause:
// whoever makes one has taken over the process, which is therefore killed.
var evil = []string{
	"execve", "execveat", "fork", "vfork", "ptrace", "process_vm_readv", "process_vm_writev",
	"bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register",
	"mount", "umount2", "move_mount", "open_tree", "fsopen", "fsmount", "pivot_root", "chroot", "setns", "unshare",
	"init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot",
	"keyctl", "add_key", "request_key",
}

// filterSyscalls loads a seccomp filter for all threads. What it neither allows
// nor kills for fails with EPERM.
func filterSyscalls() error {
	info, err := arch.GetInfo("")
	if err != nil {
		return err
	}
	known := func(names []string) []string {
		return slices.DeleteFunc(slices.Clone(names), func(n string) bool {
			_, ok := info.SyscallNames[n]
			return !ok
		})
	}
	when := func(name string, conditions ...seccomp.Condition) seccomp.NameWithConditions {
		return seccomp.NameWithConditions{Name: name, Conditions: conditions}
	}
	self := uint64(os.Getpid())
	return seccomp.LoadFilter(seccomp.Filter{
		NoNewPrivs: true,
		Flag:       seccomp.FilterFlagTSync,
		Policy: seccomp.Policy{
			DefaultAction: seccomp.ActionErrno,
			Syscalls: []seccomp.SyscallGroup{
				{
					Action: seccomp.ActionAllow,
					Names:  known(allowed),
					NamesWithCondtions: []seccomp.NameWithConditions{
						// no memory that is executable
						when("mmap", seccomp.Condition{Argument: 2, Operation: seccomp.BitsNotSet, Value: unix.PROT_EXEC}),
						when("mprotect", seccomp.Condition{Argument: 2, Operation: seccomp.BitsNotSet, Value: unix.PROT_EXEC}),
						// threads, no processes
						when("clone", seccomp.Condition{Argument: 0, Operation: seccomp.BitsSet, Value: unix.CLONE_THREAD}),
						// signals to itself: how the runtime preempts goroutines
						when("tgkill", seccomp.Condition{Argument: 0, Operation: seccomp.Equal, Value: self}),
						// names for mappings, which the runtime gives
						when("prctl", seccomp.Condition{Argument: 0, Operation: seccomp.Equal, Value: unix.PR_SET_VMA}),
					},
				},
				{Action: seccomp.ActionKillProcess, Names: known(evil)},
				// Its arguments lie in memory, where a filter cannot see them. C
				// libraries fall back to clone.
				{Action: seccomp.ActionErrno | seccomp.Action(unix.ENOSYS), Names: known([]string{"clone3"})},
			},
		},
	})
}
