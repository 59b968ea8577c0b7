//go:build !linux

package build

// limitMemory does nothing: PiCloud's server is for Linux, other systems only
// compile it.
func limitMemory(uint64) {}
