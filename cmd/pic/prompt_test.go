//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// openTerminal makes a pseudo-terminal (pty(7)): what a person sees and types,
// and what pic has as its standard input.
func openTerminal(t *testing.T) (person, terminal *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = person.Close() })
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = terminal.Close() })
	return person, terminal
}

func echoes(t *testing.T, terminal *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// person sees what pic prints and types answers.
type person struct {
	*os.File
	screen *bufio.Reader
	seen   strings.Builder
}

// sees reads the screen up to text.
func (p *person) sees(t *testing.T, text string) {
	t.Helper()
	from := p.seen.Len()
	for !strings.Contains(p.seen.String()[from:], text) {
		b, err := p.screen.ReadByte()
		if err != nil {
			t.Fatalf("the screen shows %q and no %q: %v", p.seen.String(), text, err)
		}
		p.seen.WriteByte(b)
	}
}

func (p *person) types(t *testing.T, line string) {
	t.Helper()
	if _, err := p.WriteString(line + "\n"); err != nil {
		t.Fatal(err)
	}
}

func TestPrompt_Terminal(t *testing.T) {
	t.Parallel()
	file, terminal := openTerminal(t)
	p := &person{File: file, screen: bufio.NewReader(file)}
	c := testCLI(t, nil)
	c.in, c.err = terminal, terminal

	type answer struct {
		name, password string
		err            error
	}
	done := make(chan answer, 1)
	go func() {
		name, err := c.ask(t.Context(), "User name: ")
		if err != nil {
			done <- answer{err: err}
			return
		}
		password, err := c.askNewPassword(t.Context(), "New password")
		done <- answer{name, password, err}
	}()
	p.sees(t, "User name: ")
	p.types(t, "ada")
	for _, round := range [][2]string{{"first try", "second try"}, {"correct horse", "correct horse"}} {
		p.sees(t, "New password: ")
		p.types(t, round[0])
		p.sees(t, "The same again: ")
		p.types(t, round[1])
		if round[0] != round[1] {
			p.sees(t, "These were two different passwords.")
		}
	}
	if got, want := <-done, (answer{name: "ada", password: "correct horse"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if !echoes(t, terminal) {
		t.Error("the terminal shows no more what is typed")
	}
}

// TestLogin_Terminal claims a server whose rules the first password does not meet.
func TestLogin_Terminal(t *testing.T) {
	t.Parallel()
	f := newFakeServer(t, map[string][]string{
		"GET /me":     {unclaimed, isAda},
		"POST /claim": {`422 {"status":422,"code":"invalid","field":"password","detail":"has 5 characters"}`, begun},
	})
	file, terminal := openTerminal(t)
	p := &person{File: file, screen: bufio.NewReader(file)}
	c := testCLI(t, nil)
	c.in, c.err = terminal, terminal
	code := make(chan int, 1)
	go func() { code <- run(t.Context(), c.system, []string{"login", "--claim", "--url", f.url}) }()
	p.sees(t, "Name of the owner to be for "+f.url+": ")
	p.types(t, "ada")
	for _, password := range []string{"horse", "correct horse"} {
		p.sees(t, "New password for ada: ")
		p.types(t, password)
		p.sees(t, "The same again: ")
		p.types(t, password)
		if password == "horse" {
			p.sees(t, "password: has 5 characters")
		}
	}
	if got := <-code; got != exitOK {
		t.Errorf("pic login ended with %d", got)
	}
	f.wasAsked(t, "GET /me", `POST /claim {"name":"ada","password":"horse"}`, `POST /claim {"name":"ada","password":"correct horse"}`, "GET /me as pis_new")
	has(t, "standard output", fmt.Sprint(c.out), " as ada (owner).")
}

func TestPrompt_Interrupted(t *testing.T) {
	t.Parallel()
	file, terminal := openTerminal(t)
	p := &person{File: file, screen: bufio.NewReader(file)}
	c := testCLI(t, nil)
	c.in, c.err = terminal, terminal
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := c.askHidden(ctx, "Password: ")
		done <- err
	}()
	p.sees(t, "Password: ")
	for echoes(t, terminal) {
		runtime.Gosched() // the kernel tells nobody of the change
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("askHidden() = %v, want that it was interrupted", err)
	}
	if !echoes(t, terminal) {
		t.Error("the terminal shows no more what is typed")
	}
	p.types(t, "") // so that the read that was left ends
}
