package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// credentials is what the credentials file holds: the servers that the user
// logged in to, by URL, and the one that is meant when none is named.
type credentials struct {
	Current string                `json:"current,omitempty"`
	Servers map[string]credential `json:"servers"`
}

type credential struct {
	Token string `json:"token"`
	User  string `json:"user"` // for people; the token decides
}

func (c *cli) credentialsFile() (string, error) {
	dir, err := c.configDir()
	if err != nil {
		return "", fmt.Errorf("cannot find the folder for the credentials file: %w", err)
	}
	return filepath.Join(dir, "picloud", "credentials.json"), nil
}

// credentials reads the credentials file; an absent one is empty. Where there is
// no home folder either, as in a container, there is none.
func (c *cli) credentials() (credentials, error) {
	known := credentials{Servers: map[string]credential{}}
	file, err := c.credentialsFile()
	if err != nil {
		return known, nil //nolint:nilerr // saving reports it
	}
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return known, nil
	}
	if err != nil {
		return known, fmt.Errorf("cannot read the credentials: %w", err)
	}
	if err := json.Unmarshal(b, &known); err != nil {
		return known, fmt.Errorf("%s is damaged (%w): remove it and log in again", file, err)
	}
	if known.Servers == nil {
		known.Servers = map[string]credential{}
	}
	return known, nil
}

// saveCredentials replaces the credentials file in one step. Only its owner can
// read it.
func (c *cli) saveCredentials(known credentials) error {
	file, err := c.credentialsFile()
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(known, "", "  ")
	if err != nil {
		return err
	}
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cannot save the credentials: %w", err)
	}
	temp, err := os.CreateTemp(dir, "credentials-*") // mode 0600
	if err != nil {
		return fmt.Errorf("cannot save the credentials: %w", err)
	}
	defer func() { _ = os.Remove(temp.Name()) }()
	_, err = temp.Write(append(b, '\n'))
	if err := errors.Join(err, temp.Close()); err != nil {
		return fmt.Errorf("cannot save the credentials: %w", err)
	}
	if err := os.Rename(temp.Name(), file); err != nil {
		return fmt.Errorf("cannot save the credentials: %w", err)
	}
	return nil
}
