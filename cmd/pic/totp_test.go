//go:build linux

package main

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
)

// testSecondFactor follows one user through switching a second factor on, using
// it and switching it off.
func (s *testServer) testSecondFactor(t *testing.T) {
	const password = "correct horse battery"
	owner := testCLI(t, map[string]string{"PICLOUD_URL": s.URL, "PICLOUD_TOKEN": s.Token})
	code, oneTime, errs := pic(t, owner, "", "users", "create", "tina")
	if code != exitOK {
		t.Fatal(errs)
	}
	tina := testCLI(t, map[string]string{"PICLOUD_URL": s.URL})
	does := func(rule string, want int, input string, args ...string) (out, errs string) {
		t.Helper()
		code, out, errs := pic(t, tina, input, args...)
		if code != want {
			t.Errorf("%s: pic %s ended with %d, want %d: %s", rule, args, code, want, errs)
		}
		return out, errs
	}
	does("the one-time password is replaced", exitOK, oneTime+password, "login", "--user", "tina")

	// The first code depends on the secret that pic prints before it asks.
	in, types := io.Pipe()
	screen, out := io.Pipe()
	tina.in, tina.out, tina.err = in, out, io.Discard
	ended := make(chan int, 1)
	go func() { _, _ = fmt.Fprintln(types, password) }()
	go func() {
		ended <- run(t.Context(), tina.system, []string{"totp", "on"})
		_ = out.Close()
	}()
	lines := bufio.NewReader(screen)
	var secret string
	for secret == "" {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		_, secret, _ = strings.Cut(strings.TrimSpace(line), "type its secret there: ")
	}
	first, err := totp.GenerateCode(secret, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = fmt.Fprintf(types, "000000x\n%s\n", first) }()
	rest, err := io.ReadAll(lines)
	if err != nil || <-ended != exitOK {
		t.Fatalf("pic totp on printed %q and failed: %v", rest, err)
	}
	recovery := regexp.MustCompile(`(?m)^  (\S+)$`).FindAllStringSubmatch(string(rest), -1)
	if len(recovery) < 2 {
		t.Fatalf("pic totp on printed %q, want recovery codes", rest)
	}

	shown, _ := does("whoami tells of it", exitOK, "", "whoami")
	has(t, "whoami", shown, "Second factor  on")
	_, errs = does("the password alone does not suffice", exitFailure, password, "login", "--user", "tina")
	has(t, "standard error", errs, "Pass it with --code, or type it when asked.")
	_, errs = does("a code is good once", exitFailure, password, "login", "--user", "tina", "--code", first)
	has(t, "standard error", errs, "That code was wrong, or used before.")
	does("a recovery code lets in", exitOK, password+"\n"+recovery[0][1], "login", "--user", "tina")
	does("once", exitFailure, password, "login", "--user", "tina", "--code", recovery[0][1])
	does("the second factor goes", exitOK, password, "totp", "off")
	does("the password suffices again", exitOK, password, "login", "--user", "tina")
}
