package accounts

import (
	"cmp"
	"context"
	"crypto/subtle"
	_ "embed"
	"encoding/base64"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"github.com/picloud/picloud/services/cloud"
)

// Hashing is how passwords are hashed, by Argon2id (RFC 9106).
type Hashing struct {
	Memory  uint32 // KiB
	Passes  uint32
	Threads uint8
	AtOnce  int // how many are hashed at the same time
	Waiting int // how many more may wait for that
}

// DefaultHashing fits a board with 1 GB: hashing never takes more than 19 MiB,
// and whoever logs in waits for a few others at most.
var DefaultHashing = Hashing{Memory: 19456, Passes: 2, Threads: 1, AtOnce: 1, Waiting: 16}

// Sizes in bytes, as RFC 9106, section 4, recommends them.
const (
	saltSize = 16
	hashSize = 32
)

// What a stored hash may ask for, so that none takes the server's memory or time.
const (
	maxMemory  = 256 << 10 // KiB
	maxPasses  = 16
	maxThreads = 16
)

// hasher hashes passwords, a few at once: a flood of log-ins must not take all
// memory.
type hasher struct {
	Hashing
	random io.Reader
	slots  chan struct{} // holds one per hashing
	line   chan struct{} // holds one per hashing and per waiter
	absent phc           // what is verified where there is no password
	turns  atomic.Int64  // that were given to hash; tests count them
}

func newHasher(h Hashing, random io.Reader) (*hasher, error) {
	h = Hashing{
		Memory:  cmp.Or(h.Memory, DefaultHashing.Memory),
		Passes:  cmp.Or(h.Passes, DefaultHashing.Passes),
		Threads: cmp.Or(h.Threads, DefaultHashing.Threads),
		AtOnce:  cmp.Or(h.AtOnce, DefaultHashing.AtOnce),
		Waiting: cmp.Or(h.Waiting, DefaultHashing.Waiting),
	}
	absent := phc{memory: h.Memory, passes: h.Passes, threads: h.Threads, salt: make([]byte, saltSize), hash: make([]byte, hashSize)}
	if err := absent.check(); err != nil {
		return nil, fmt.Errorf("hashing of passwords: %w", err)
	}
	if h.AtOnce < 0 || h.Waiting < 0 {
		return nil, fmt.Errorf("hashing of passwords: %d at once and %d waiting make no queue", h.AtOnce, h.Waiting)
	}
	return &hasher{
		Hashing: h, random: random, absent: absent,
		slots: make(chan struct{}, h.AtOnce), line: make(chan struct{}, h.AtOnce+h.Waiting),
	}, nil
}

var errHashing = cloud.Errorf(cloud.CodeBusy, "too many people are logging in at this moment; try again in a few seconds")

// enter waits for a turn to hash. leave ends it. CodeBusy.
func (h *hasher) enter(ctx context.Context) (leave func(), err error) {
	select {
	case h.line <- struct{}{}:
	default:
		return nil, errHashing
	}
	select {
	case h.slots <- struct{}{}:
		h.turns.Add(1)
		return func() { <-h.slots; <-h.line }, nil
	case <-ctx.Done():
		<-h.line
		return nil, errHashing.Because(context.Cause(ctx))
	}
}

// hash returns what is stored of a password. CodeBusy.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	leave, err := h.enter(ctx)
	if err != nil {
		return "", err
	}
	defer leave()
	p := phc{memory: h.Memory, passes: h.Passes, threads: h.Threads, salt: randomBytes(h.random, saltSize)}
	p.hash = p.of(password, hashSize)
	return p.String(), nil
}

// verify tells whether stored is of password, and whether it was made with other
// parameters than those of now. Nothing stored takes as long, and is false.
// CodeBusy; CodeInternal if stored cannot be read.
func (h *hasher) verify(ctx context.Context, stored, password string) (ok, stale bool, err error) {
	p := h.absent
	if stored != "" {
		if p, err = parsePHC(stored); err != nil {
			return false, false, cloud.Errorf(cloud.CodeInternal, "the stored password cannot be read; set another one").Because(err)
		}
	}
	if len(password) > cloud.MaxPassword {
		password, stored = "", ""
	}
	leave, err := h.enter(ctx)
	if err != nil {
		return false, false, err
	}
	defer leave()
	same := subtle.ConstantTimeCompare(p.of(password, len(p.hash)), p.hash) == 1
	stale = p.memory != h.Memory || p.passes != h.Passes || p.threads != h.Threads || len(p.salt) != saltSize || len(p.hash) != hashSize
	return same && stored != "", stale, nil
}

// phc is a hash by Argon2id with its parameters. Its text is in the PHC string
// format: $argon2id$v=19$m=19456,t=2,p=1$SALT$HASH.
type phc struct {
	memory, passes uint32
	threads        uint8
	salt, hash     []byte
}

func (p phc) of(password string, size int) []byte {
	return argon2.IDKey([]byte(password), p.salt, p.passes, p.memory, p.threads, uint32(size))
}

func (p phc) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.memory, p.passes, p.threads,
		base64.RawStdEncoding.EncodeToString(p.salt), base64.RawStdEncoding.EncodeToString(p.hash))
}

// check refuses parameters that are meaningless or take too much.
func (p phc) check() error {
	switch {
	case p.passes < 1 || p.passes > maxPasses:
		return fmt.Errorf("%d passes; 1 to %d are possible", p.passes, maxPasses)
	case p.threads < 1 || p.threads > maxThreads:
		return fmt.Errorf("%d threads; 1 to %d are possible", p.threads, maxThreads)
	case p.memory < 8*uint32(p.threads) || p.memory > maxMemory:
		return fmt.Errorf("%d KiB of memory; 8 per thread to %d are possible", p.memory, maxMemory)
	case len(p.salt) < 8 || len(p.salt) > 64:
		return fmt.Errorf("%d bytes of salt; 8 to 64 are possible", len(p.salt))
	case len(p.hash) < 16 || len(p.hash) > 64:
		return fmt.Errorf("%d bytes of hash; 16 to 64 are possible", len(p.hash))
	}
	return nil
}

// parsePHC reads what String wrote, and nothing that only resembles it.
func parsePHC(s string) (phc, error) {
	malformed := fmt.Errorf("%d bytes that are no hash by Argon2id", len(s))
	fields := strings.SplitN(s, "$", 7)
	if len(fields) != 6 {
		return phc{}, malformed
	}
	parameters := strings.SplitN(fields[3], ",", 4)
	if len(parameters) != 3 {
		return phc{}, malformed
	}
	var numbers [3]uint32
	for i, name := range []string{"m=", "t=", "p="} {
		n, err := strconv.ParseUint(strings.TrimPrefix(parameters[i], name), 10, 32)
		if err != nil {
			return phc{}, malformed
		}
		numbers[i] = uint32(n)
	}
	if numbers[2] > maxThreads {
		return phc{}, malformed
	}
	p := phc{memory: numbers[0], passes: numbers[1], threads: uint8(numbers[2])}
	var err error
	if p.salt, err = base64.RawStdEncoding.DecodeString(fields[4]); err != nil {
		return phc{}, malformed
	}
	if p.hash, err = base64.RawStdEncoding.DecodeString(fields[5]); err != nil {
		return phc{}, malformed
	}
	if p.String() != s {
		return phc{}, malformed
	}
	return p, p.check()
}

//go:embed passwords.txt
var badPasswordsText string

// badPasswords are well known ones, and words that need more than digits behind
// them.
var badPasswords = func() map[string]bool {
	bad := map[string]bool{}
	for line := range strings.Lines(badPasswordsText) {
		bad[strings.TrimSpace(line)] = true
	}
	return bad
}()

// checkPassword refuses, with a CodeInvalid error about field, what is no good
// password for the user.
func checkPassword(field, user, password string) error {
	switch n := utf8.RuneCountInString(password); {
	case !utf8.ValidString(password):
		return cloud.Invalid(field, "is not valid UTF-8")
	case n < cloud.MinPassword:
		return cloud.Invalid(field, "has %d characters; use at least %d, such as a few words", n, cloud.MinPassword)
	case len(password) > cloud.MaxPassword:
		return cloud.Invalid(field, "has %d bytes; at most %d are allowed", len(password), cloud.MaxPassword)
	}
	whole := strings.ToLower(password)
	for _, word := range []string{whole, strings.TrimRightFunc(whole, isMark), strings.TrimRightFunc(whole, isAppended)} {
		switch {
		case word == strings.ToLower(user):
			return cloud.Invalid(field, "is the user's name; use something that nobody guesses, such as a few words")
		case badPasswords[word]:
			return cloud.Invalid(field, "is one of those that are tried first; use something that nobody guesses, such as a few words")
		}
	}
	return nil
}

// isMark and isAppended tell what people put behind a word to please a rule.
func isMark(r rune) bool     { return unicode.IsPunct(r) || unicode.IsSymbol(r) || unicode.IsSpace(r) }
func isAppended(r rune) bool { return isMark(r) || unicode.IsDigit(r) }
