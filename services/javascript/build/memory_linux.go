package build

import "syscall"

// limitMemory bounds the data of this process; without the right to it, the
// bound stays what it is.
func limitMemory(limit uint64) {
	_ = syscall.Setrlimit(syscall.RLIMIT_DATA, &syscall.Rlimit{Cur: limit, Max: limit})
}
