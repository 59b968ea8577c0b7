//go:build !windows

package main

import "os"

// enableColours reports whether the terminal f reads escape sequences.
func enableColours(*os.File) bool { return true }
