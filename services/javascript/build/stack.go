package build

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/picloud/picloud/services/cloud"
)

// A frame as goja writes it: "at name (program:3:7(21))" or, without a name,
// "at program:3:7(21)". The number in the inner brackets is optional.
var frame = regexp.MustCompile(`^\s*at (?:(.*) \()?([^()\s][^()]*):(\d+):(\d+)(?:\(\d+\))?\)?$`)

// MapStack turns a stack that goja wrote about b's code into one of the user's
// files, "at name (file:line:column)" a line. Lines that are no frames stay;
// frames in code that is not the user's are left out.
func MapStack(b *cloud.Build, stack string) string {
	lines := strings.Split(strings.TrimRight(stack, "\n"), "\n")
	frames := make([][]string, len(lines))
	var positions []position
	for i, line := range lines {
		frames[i] = frame.FindStringSubmatch(line)
		if f := frames[i]; f != nil {
			positions = append(positions, framePosition(f))
		}
	}
	var places map[position]place
	if len(positions) > 0 {
		if m, err := parseSourceMap(b.SourceMap); err == nil {
			places = m.find(positions)
		}
	}
	var out []string
	for i, line := range lines {
		f := frames[i]
		if f == nil {
			if !strings.HasPrefix(strings.TrimSpace(line), "at ") {
				out = append(out, line)
			}
			continue
		}
		p, ok := places[framePosition(f)]
		if !ok || p.file == platformFile {
			continue
		}
		where := p.file + ":" + strconv.Itoa(p.line) + ":" + strconv.Itoa(p.column)
		if name := f[1]; name != "" {
			where = name + " (" + where + ")"
		}
		out = append(out, "at "+where)
	}
	return strings.Join(out, "\n")
}

// frameIn is a frame within text: what stands before its position, the program,
// the position.
var frameIn = regexp.MustCompile(`(?m)(^[ \t]*at (?:[^\n(]+ \()?)([^()\s:]+):(\d+):(\d+)(?:\(\d+\))?`)

// maxFrames bounds the work that MapText does.
const maxFrames = 1000

// MapText replaces, in each of the texts, the positions of frames that goja wrote
// about b's code under the program's name by those in the user's files. All else
// stays as it is.
func MapText(b *cloud.Build, program string, texts []string) {
	var positions []position
	for _, text := range texts {
		if !strings.Contains(text, program+":") {
			continue
		}
		for _, f := range frameIn.FindAllStringSubmatch(text, maxFrames-len(positions)) {
			if f[2] == program {
				positions = append(positions, framePosition(f))
			}
		}
		if len(positions) >= maxFrames {
			break
		}
	}
	if len(positions) == 0 {
		return
	}
	m, err := parseSourceMap(b.SourceMap)
	if err != nil {
		return
	}
	places := m.find(positions)
	for i, text := range texts {
		if !strings.Contains(text, program+":") {
			continue
		}
		texts[i] = frameIn.ReplaceAllStringFunc(text, func(s string) string {
			f := frameIn.FindStringSubmatch(s)
			p, ok := places[framePosition(f)]
			if !ok || f[2] != program || p.file == platformFile {
				return s
			}
			return f[1] + p.file + ":" + strconv.Itoa(p.line) + ":" + strconv.Itoa(p.column)
		})
	}
}

func framePosition(f []string) position {
	line, _ := strconv.Atoi(f[3])
	column, _ := strconv.Atoi(f[4])
	return position{line, column}
}
