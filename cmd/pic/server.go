package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

const (
	defaultApp = "default"
	localURL   = "http://localhost:8080" // where `make run` listens
)

// server is whom pic talks to.
type server struct {
	url   string // scheme and host, without a trailing slash
	token string // "" if none is known
	from  string // where the token was found, if not in the credentials file
}

// server finds the server and the key for it, in the order that the root
// command's help tells.
func (c *cli) server() (server, error) {
	known, err := c.credentials()
	if err != nil {
		return server{}, err
	}
	s, err := c.serverURL(known)
	if err != nil {
		return server{}, err
	}
	switch {
	case c.tokenFile != "":
		s.from = c.tokenFile
		s.token, err = readToken(c.tokenFile)
	case c.env("PICLOUD_TOKEN") != "":
		s.from = "PICLOUD_TOKEN"
		s.token = strings.TrimSpace(c.env("PICLOUD_TOKEN"))
	case known.Servers[s.url].Token != "":
		s.token = known.Servers[s.url].Token
	case isLocal(s.url):
		s.token, s.from, err = c.ownerToken()
	}
	return s, err
}

func (c *cli) serverURL(known credentials) (server, error) {
	switch {
	case c.url != "":
		u, err := parseServer(c.url)
		if err != nil {
			return server{}, usagef("--url: %w", err)
		}
		return server{url: u}, nil
	case c.env("PICLOUD_URL") != "":
		u, err := parseServer(c.env("PICLOUD_URL"))
		if err != nil {
			return server{}, usagef("PICLOUD_URL: %w", err)
		}
		return server{url: u}, nil
	case known.Current != "":
		return server{url: known.Current}, nil
	}
	return server{url: localURL}, nil
}

// parseServer reads the URL of a server. A bare host gets http, which is what a
// fresh board speaks.
func parseServer(s string) (string, error) {
	if !strings.Contains(s, "://") {
		s = "http://" + s
	}
	u, err := url.Parse(s)
	if err != nil {
		return "", fmt.Errorf("%q is no URL: %w", s, errors.Unwrap(err))
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return "", fmt.Errorf("%q: the scheme %q is neither http nor https", s, u.Scheme)
	case u.Hostname() == "":
		return "", fmt.Errorf("%q names no host; write it like http://picloud.local", s)
	case u.User != nil:
		return "", errors.New("a URL with a password in it is refused; use pic login")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return "", fmt.Errorf("%q goes on behind the host; give only scheme, host and port", s)
	}
	return u.Scheme + "://" + strings.ToLower(u.Host), nil
}

// isLocal tells whether a server's URL can lead nowhere but to this machine.
func isLocal(server string) bool {
	u, err := url.Parse(server)
	if err != nil {
		return false
	}
	if u.Hostname() == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(u.Hostname())
	return err == nil && addr.IsLoopback()
}

// ownerToken is the key that a development server left in its data folder:
// PICLOUD_DATA, or .picloud in the working folder or the nearest above that has
// one. It is "" if there is none, else from a file.
func (c *cli) ownerToken() (token, file string, err error) {
	if data := c.env("PICLOUD_DATA"); data != "" {
		file = filepath.Join(data, "owner-token")
		token, err = readToken(file)
		return token, file, err
	}
	dir, err := c.workDir()
	if err != nil {
		return "", "", err
	}
	for {
		file = filepath.Join(dir, ".picloud", "owner-token")
		token, err = readToken(file)
		if !errors.Is(err, fs.ErrNotExist) {
			return token, file, err
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", "", nil
		}
		dir = parent
	}
}

func readToken(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("cannot read the API key: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if token == "" {
		return "", fmt.Errorf("%s holds no API key", file)
	}
	return token, nil
}
