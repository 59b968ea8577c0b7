package regexpclass

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// set is a set of code points: ranges in order that neither overlap nor touch.
type set []span

type span struct{ low, high rune }

// union joins sets.
func union(sets ...set) set {
	all := slices.Concat(sets...)
	slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.low, b.low) })
	var out set
	for _, s := range all {
		if n := len(out); n > 0 && s.low <= out[n-1].high+1 {
			out[n-1].high = max(out[n-1].high, s.high)
			continue
		}
		out = append(out, s)
	}
	return out
}

func (s set) complement() set {
	var out set
	next := rune(0)
	for _, r := range s {
		if r.low > next {
			out = append(out, span{next, r.low - 1})
		}
		next = r.high + 1
	}
	if next <= unicode.MaxRune {
		out = append(out, span{next, unicode.MaxRune})
	}
	return out
}

func (s set) intersect(t set) set {
	return union(s.complement(), t.complement()).complement()
}

func (s set) subtract(t set) set { return s.intersect(t.complement()) }

// write appends the ranges as they stand inside a class.
func (s set) write(b *strings.Builder) {
	for _, r := range s {
		writeRune(b, r.low)
		if r.high > r.low {
			if r.high > r.low+1 {
				b.WriteByte('-')
			}
			writeRune(b, r.high)
		}
	}
}

func writeRune(b *strings.Builder, r rune) {
	b.WriteString(`\u{`)
	b.WriteString(strconv.FormatInt(int64(r), 16))
	b.WriteByte('}')
}

func fromTable(t *unicode.RangeTable) set {
	var out set
	add := func(low, high, stride rune) {
		if stride == 1 {
			out = append(out, span{low, high})
			return
		}
		for r := low; r <= high; r += stride {
			out = append(out, span{r, r})
		}
	}
	for _, r := range t.R16 {
		add(rune(r.Lo), rune(r.Hi), rune(r.Stride))
	}
	for _, r := range t.R32 {
		add(rune(r.Lo), rune(r.Hi), rune(r.Stride))
	}
	return union(out)
}
