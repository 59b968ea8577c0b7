package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// terminal is the descriptor of the terminal that a person types at; false if
// standard input is something else.
func (c *cli) terminal() (int, bool) {
	f, ok := c.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	return int(f.Fd()), true
}

// ask reads a line: a person is asked for it, what else standard input is
// gives its next one. At its end that is "".
func (c *cli) ask(ctx context.Context, prompt string) (string, error) {
	if _, ok := c.terminal(); ok {
		fmt.Fprint(c.err, plain(prompt))
	}
	return awaited(ctx, c.readLine)
}

// askHidden is ask without echo.
func (c *cli) askHidden(ctx context.Context, prompt string) (string, error) {
	fd, ok := c.terminal()
	if !ok {
		return c.ask(ctx, prompt)
	}
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("cannot read from the terminal: %w", err)
	}
	fmt.Fprint(c.err, plain(prompt))
	text, err := awaited(ctx, func() (string, error) {
		b, err := term.ReadPassword(fd)
		return string(b), err
	})
	fmt.Fprintln(c.err)
	if ctx.Err() != nil {
		_ = term.Restore(fd, before) // the interrupted read left the echo off
	}
	if errors.Is(err, io.EOF) {
		return "", nil
	}
	return text, err
}

// askNewPassword asks for a password that is to be; a person types it twice,
// until both are the same.
func (c *cli) askNewPassword(ctx context.Context, prompt string) (string, error) {
	for {
		password, err := c.askHidden(ctx, prompt+": ")
		if err != nil {
			return "", err
		}
		if password == "" {
			return "", errors.New("no new password was given")
		}
		if _, ok := c.terminal(); !ok {
			return password, nil
		}
		again, err := c.askHidden(ctx, "The same again: ")
		if err != nil || again == password {
			return password, err
		}
		fmt.Fprintln(c.err, "These were two different passwords.")
	}
}

// choosePassword asks for a password that is to be and hands it to use; a person
// is asked again for as long as the server refuses it.
func (c *cli) choosePassword(ctx context.Context, prompt string, use func(password string) error) error {
	for {
		password, err := c.askNewPassword(ctx, prompt)
		if err != nil {
			return err
		}
		err = use(password)
		p, refused := errors.AsType[*problem](err)
		if _, typing := c.terminal(); !typing || !refused || p.Field != "password" && p.Field != "new_password" {
			return err
		}
		fmt.Fprintln(c.err, plain(p.Error()))
	}
}

// confirm fails unless the name of what is about to be changed for good is typed;
// what says which kind of name that is.
func (c *cli) confirm(ctx context.Context, what, name string) error {
	fmt.Fprintf(c.err, "Type its %s to go on: ", what)
	typed, err := awaited(ctx, c.readLine)
	if err != nil {
		return err
	}
	if strings.TrimSpace(typed) != name {
		return fmt.Errorf("that was not %s: nothing was done", name)
	}
	return nil
}

// readLine is the next line of standard input without its end; "" when there is
// none.
func (c *cli) readLine() (string, error) {
	if c.lines == nil {
		c.lines = bufio.NewReader(c.in)
	}
	line, err := c.lines.ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("cannot read standard input: %w", err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}

// readInput is what a file holds, or for - standard input; what names it in
// errors.
func (c *cli) readInput(file, what string) ([]byte, error) {
	read := func() ([]byte, error) { return os.ReadFile(file) }
	if file == "-" {
		read = func() ([]byte, error) { return io.ReadAll(c.in) }
	}
	b, err := read()
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", what, err)
	}
	return b, nil
}

// awaited is what read returns, unless ctx ends before: an interrupted read of a
// terminal does not return, and ends with the process.
func awaited(ctx context.Context, read func() (string, error)) (string, error) {
	type result struct {
		text string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		text, err := read()
		done <- result{text, err}
	}()
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case r := <-done:
		return r.text, r.err
	}
}
