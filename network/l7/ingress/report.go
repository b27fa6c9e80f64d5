package ingress

import (
	"maps"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"

	"fairlead.dev/fairlead/api"
)

// Line is what there is to say about one annotation of an Ingress.
type Line struct {
	Annotation string // without Prefix
	Level      Level
	Text       string // how it differs, what is wrong, how to say it otherwise; may be empty when it is Same
}

// Annotations says of each annotation of an Ingress that ingress-nginx has, or that looks as if, how it compares.
func Annotations(ing *networkingv1.Ingress) []Line {
	_, lines := read(ing)
	return lines
}

// findings are the lines that people have to be told without asking.
func findings(ing *networkingv1.Ingress, lines []Line) []Finding {
	var list []Finding
	for _, l := range lines {
		f := Finding{Ingress: api.Name(ing), Level: l.Level, Where: l.Annotation, Sentence: l.Text}
		switch l.Level {
		case Same:
			continue
		case Differs:
			f.Code, f.Sentence, f.Remedy = AnnotationDiffers, "differs from ingress-nginx: "+l.Text, "Nothing has to be done if that is good enough"
		case Unsupported:
			f.Code, f.Remedy = AnnotationUnsupported, "Remove the annotation when it is said otherwise"
			f.Sentence = "is not supported: " + l.Text
			if all[l.Annotation] == nil {
				f.Code, f.Sentence, f.Remedy = AnnotationUnknown, l.Text, "Mend its name, or remove it"
			}
		case Wrong:
			f.Code, f.Remedy = AnnotationWrong, mendValue
		}
		list = append(list, f)
	}
	return list
}

const mendValue = "Mend its value"

// unknown is what is said of an annotation of which there is no row.
func unknown(name string) Line {
	text := "there is no such annotation"
	if near := nearest(name); near != "" {
		text += "; the nearest is " + near
	}
	return Line{Annotation: name, Level: Unsupported, Text: text}
}

// nearest is the annotation whose name is least far from a mistyped one; "" if none is near.
func nearest(name string) string {
	best, least := "", len(name)/3+1
	for _, known := range slices.Sorted(maps.Keys(all)) {
		if d := distance(strings.ToLower(name), known); d < least {
			best, least = known, d
		}
	}
	return best
}

// distance is how many bytes have to be inserted, taken out or replaced to make b of a.
func distance(a, b string) int {
	a = a[:min(len(a), 64)] // what is longer is near to nothing
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// Row is what the documentation says of one annotation.
type Row struct {
	Name  string
	Level Level
	Note  string
	Guard bool
}

// Rows are all annotations by name.
func Rows() []Row {
	var list []Row
	for _, name := range slices.Sorted(maps.Keys(all)) {
		r := all[name]
		note := r.note
		if r.guarding != nil {
			note += ". One that denies, returns 401, 403, 404 or 444, or asks who somebody is, guards"
		}
		list = append(list, Row{r.name, r.level, note, r.guard})
	}
	return list
}
