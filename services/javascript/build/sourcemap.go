package build

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// sourceMap is a version 3 source map (ECMA-426) as far as builds use it. It is
// read by one pass over its text, without tables: a build's map is edited once,
// and searched only when something went wrong.
type sourceMap struct {
	Version        int       `json:"version"`
	Sources        []string  `json:"sources"`
	SourcesContent []*string `json:"sourcesContent,omitempty"`
	Mappings       string    `json:"mappings"`
	Names          []string  `json:"names"`
}

var errSourceMap = errors.New("not a version 3 source map")

func parseSourceMap(text []byte) (*sourceMap, error) {
	var m sourceMap
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, err
	}
	if m.Version != 3 {
		return nil, errSourceMap
	}
	return &m, nil
}

const inlineMark = "\n//# sourceMappingURL=data:application/json;base64,"

// inlineMap is the map at the end of a bundle, or nil.
func inlineMap(text string) *sourceMap {
	i := strings.LastIndex(text, inlineMark)
	if i < 0 {
		return nil
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text[i+len(inlineMark):]))
	if err != nil {
		return nil
	}
	m, err := parseSourceMap(raw)
	if err != nil {
		return nil
	}
	return m
}

func (m *sourceMap) encode() ([]byte, error) {
	c := *m
	c.Version = 3
	c.Names = []string{}
	c.SourcesContent = nil
	return json.Marshal(&c)
}

// content is the text of a source, if the map carries it.
func (m *sourceMap) content(file string) (string, bool) {
	i := slices.Index(m.Sources, file)
	if i < 0 || i >= len(m.SourcesContent) || m.SourcesContent[i] == nil {
		return "", false
	}
	return *m.SourcesContent[i], true
}

// position is a place in generated code; both count from 1.
type position struct{ line, column int }

// place is a place in a source; line and column count from 1.
type place struct {
	file         string
	line, column int
}

// find returns the places that positions come from. A position before the first
// mapping of its line, or in code that no source made, has none.
func (m *sourceMap) find(positions []position) map[position]place {
	wanted := map[int][]position{}
	last := 0
	for _, p := range positions {
		wanted[p.line] = append(wanted[p.line], p)
		last = max(last, p.line)
	}
	found := map[position]place{}
	var source, line, column int
	n := 0
	for segments := range strings.SplitSeq(m.Mappings, ";") {
		if n++; n > last {
			break
		}
		here := wanted[n]
		generated := 0
		for segment := range strings.SplitSeq(segments, ",") {
			var fields [5]int
			count, ok := decodeVLQ(segment, &fields)
			if !ok {
				return found
			}
			if count == 0 {
				continue
			}
			generated += fields[0]
			if count >= 4 {
				source += fields[1]
				line += fields[2]
				column += fields[3]
			}
			for _, p := range here {
				if generated > p.column-1 {
					continue
				}
				if count < 4 || source < 0 || source >= len(m.Sources) {
					delete(found, p)
					continue
				}
				found[p] = place{m.Sources[source], line + 1, column + 1}
			}
		}
	}
	return found
}

// shift returns the map for the code after edits. Edits are sorted and on lines
// of the code that the map is about; they move what stands behind them.
func (m *sourceMap) shift(edits []edit) *sourceMap {
	if len(edits) == 0 {
		return m
	}
	byLine := map[int][]edit{}
	for _, e := range edits {
		byLine[e.line] = append(byLine[e.line], e)
	}
	lines := strings.Split(m.Mappings, ";")
	for n, es := range byLine {
		if n > len(lines) {
			continue
		}
		segments := strings.Split(lines[n-1], ",")
		generated, moved := 0, 0
		for i, segment := range segments {
			delta, size, ok := decodeNumber(segment)
			if !ok {
				continue
			}
			generated += delta
			offset := 0
			for _, e := range es {
				if e.column-1 <= generated {
					offset += e.grown()
				}
			}
			segments[i] = string(appendNumber(nil, delta+offset-moved)) + segment[size:]
			moved = offset
		}
		lines[n-1] = strings.Join(segments, ",")
	}
	c := *m
	c.Mappings = strings.Join(lines, ";")
	return &c
}

const vlqDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

var vlqValue = func() (t [256]int8) {
	for i := range t {
		t[i] = -1
	}
	for i := range vlqDigits {
		t[vlqDigits[i]] = int8(i)
	}
	return t
}()

// decodeVLQ reads a segment's fields; false if it is malformed.
func decodeVLQ(segment string, fields *[5]int) (count int, ok bool) {
	for segment != "" {
		n, size, ok := decodeNumber(segment)
		if !ok || count == len(fields) {
			return count, false
		}
		fields[count] = n
		count++
		segment = segment[size:]
	}
	return count, true
}

func decodeNumber(s string) (n, size int, ok bool) {
	shift := 0
	for i := range len(s) {
		digit := vlqValue[s[i]]
		if digit < 0 || shift > 30 {
			return 0, 0, false
		}
		n |= int(digit&31) << shift
		shift += 5
		if digit&32 == 0 {
			if n&1 != 0 {
				return -(n >> 1), i + 1, true
			}
			return n >> 1, i + 1, true
		}
	}
	return 0, 0, false
}

func appendNumber(b []byte, n int) []byte {
	v := n << 1
	if n < 0 {
		v = -n<<1 | 1
	}
	for {
		digit := v & 31
		if v >>= 5; v > 0 {
			digit |= 32
		}
		b = append(b, vlqDigits[digit])
		if v == 0 {
			return b
		}
	}
}
