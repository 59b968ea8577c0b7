package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/picloud/picloud/services/cloud"
)

// parseEnvFile reads the lines NAME=VALUE of an .env file; see envFileHelp. An
// error begins with the number of its line, and tells no value.
func parseEnvFile(text string) ([]envEntry, error) {
	var entries []envEntry
	number := 0
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, found := strings.Cut(line, "=")
		if !found {
			return nil, fmt.Errorf("%d: this line is not NAME=VALUE", number)
		}
		if rest, ok := strings.CutPrefix(name, "export "); ok {
			name = rest
		}
		name = strings.TrimSpace(name)
		if err := cloud.CheckEnvName(name); err != nil {
			return nil, fmt.Errorf("%d: the name %s", number, publicMessage(err))
		}
		value, err := envValue(strings.TrimSpace(value))
		if err != nil {
			return nil, fmt.Errorf("%d: the value of %s %w", number, name, err)
		}
		entries = append(entries, envEntry{Name: name, Value: value})
	}
	return entries, nil
}

// comment is what may follow a value.
var comment = regexp.MustCompile(`(^|[ \t]+)#.*$`)

// envValue takes the quotes and a comment off a value.
func envValue(s string) (string, error) {
	if s == "" || s[0] != '"' && s[0] != '\'' {
		return comment.ReplaceAllString(s, ""), nil
	}
	quote := s[0]
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == quote:
			if rest := strings.TrimSpace(s[i+1:]); rest != "" && rest[0] != '#' {
				return "", errors.New("goes on behind its quote")
			}
			return b.String(), nil
		case s[i] != '\\' || quote == '\'' || i == len(s)-1:
			b.WriteByte(s[i])
		default:
			i++
			c, ok := escapes[s[i]]
			if !ok {
				return "", fmt.Errorf("has the unknown escape \\%c", s[i])
			}
			b.WriteByte(c)
		}
	}
	return "", errors.New("does not end with its quote, on the same line")
}

// escapes are those of "…".
var escapes = map[byte]byte{'n': '\n', 't': '\t', 'r': '\r', '"': '"', '\\': '\\', '$': '$'}
