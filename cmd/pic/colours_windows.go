package main

import (
	"os"

	"golang.org/x/sys/windows"
)

// enableColours makes the console f read escape sequences and reports whether it
// can.
func enableColours(f *os.File) bool {
	var mode uint32
	console := windows.Handle(f.Fd())
	if windows.GetConsoleMode(console, &mode) != nil {
		return false
	}
	return windows.SetConsoleMode(console, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) == nil
}
