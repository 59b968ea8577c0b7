package orchestrator

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"slices"

	"github.com/picloud/picloud/services/cloud"
)

// Snapshot is a file that keeps the apps while no process runs, so that the next
// one can answer before the database does. Secrets are in it as the database has
// them: sealed. While a process changes what is in it, the file is away.
type Snapshot struct {
	Path string // in a folder that its owner alone may write; "": none is kept
	// Of names the database, and the program that has read it: what another wrote
	// is not used.
	Of string
}

// snapshotMagic begins the file. Then come, in 4 bytes, the CRC-32C of the rest,
// and in gob's form Of and the apps by id.
const snapshotMagic = "PiCloud apps 1\n"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (s Snapshot) encode(states []cloud.AppState) ([]byte, error) {
	states = slices.SortedFunc(slices.Values(states), func(a, b cloud.AppState) int { return cmp.Compare(a.App.ID, b.App.ID) })
	b := bytes.NewBuffer(make([]byte, len(snapshotMagic)+crc32.Size))
	enc := gob.NewEncoder(b)
	if err := errors.Join(enc.Encode(s.Of), enc.Encode(states)); err != nil {
		return nil, err
	}
	text := b.Bytes()
	head := text[:copy(text, snapshotMagic)]
	rest := text[len(head)+crc32.Size:]
	binary.BigEndian.PutUint32(text[len(head):], crc32.Checksum(rest, castagnoli))
	return text, nil
}

func (s Snapshot) decode(text []byte) (states []cloud.AppState, err error) {
	rest, ok := bytes.CutPrefix(text, []byte(snapshotMagic))
	if !ok {
		return nil, errors.New("it is no snapshot of this format")
	}
	if len(rest) < crc32.Size || binary.BigEndian.Uint32(rest) != crc32.Checksum(rest[crc32.Size:], castagnoli) {
		return nil, errors.New("it is damaged: its checksum is wrong")
	}
	dec := gob.NewDecoder(bytes.NewReader(rest[crc32.Size:]))
	var of string
	if err := dec.Decode(&of); err != nil {
		return nil, err
	}
	if of != s.Of {
		return nil, fmt.Errorf("it is of %s, this is %s", of, s.Of)
	}
	err = dec.Decode(&states)
	return states, err
}

// read returns fs.ErrNotExist, and no apps, where there is no file.
func (s Snapshot) read() ([]cloud.AppState, error) {
	if s.Path == "" {
		return nil, fs.ErrNotExist
	}
	text, err := os.ReadFile(s.Path)
	if err != nil {
		return nil, err
	}
	return s.decode(text)
}

// holds tells whether the file is the one that write would make.
func (s Snapshot) holds(states []cloud.AppState) bool {
	is, err := os.ReadFile(s.Path)
	if err != nil {
		return false
	}
	wanted, err := s.encode(states)
	return err == nil && bytes.Equal(is, wanted)
}

// write replaces the file. It does not wait for the disk: a power cut costs no
// more than the file.
func (s Snapshot) write(states []cloud.AppState) error {
	text, err := s.encode(states)
	if err != nil {
		return err
	}
	next := s.Path + ".new"
	err = os.WriteFile(next, text, 0o600)
	if err == nil {
		err = os.Rename(next, s.Path)
	}
	if err != nil {
		_ = os.Remove(next)
	}
	return err
}

// remove takes the file away. Where there is none, it does nothing.
func (s Snapshot) remove() error {
	if err := os.Remove(s.Path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
