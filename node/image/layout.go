package image

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
)

// tree is an image below one descriptor.
type tree struct {
	blobs    []Blob // as in Packed
	variants []Variant
}

// Media types of what an image's names stand for. Others are spelled by what they hold: containerd looks at nothing else.
var targetTypes = []string{mediaIndex, mediaManifest,
	"application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.docker.distribution.manifest.v2+json"}

// depth is how far indexes may refer to indexes.
const depth = 4

// tree reads an index or a manifest, and all below it that this machine can run.
func (f *files) tree(d descriptor, deep int) (tree, error) {
	target, err := f.blob(d)
	if err != nil {
		return tree{}, err
	}
	var has struct {
		Manifests []descriptor `json:"manifests"`
		Config    *descriptor  `json:"config"`
		Layers    []descriptor `json:"layers"`
	}
	if err := decode(target, d.Digest, &has); err != nil {
		return tree{}, err
	}
	var t tree
	kind := mediaManifest
	switch {
	case len(has.Manifests) > 0 && deep < depth:
		kind = mediaIndex
		t, target.Refers, err = f.children(has.Manifests, deep)
	case has.Config != nil:
		t, err = f.manifest(*has.Config, has.Layers)
		target.Refers = digests(t.blobs)
	default:
		err = fmt.Errorf("%s is neither a manifest nor an index of images", d.Digest)
	}
	if !slices.Contains(targetTypes, target.MediaType) {
		target.MediaType = kind
	}
	t.blobs = append(t.blobs, target)
	return t, err
}

// children reads what an index lists. What this machine cannot run is left out, and so is what the archive lacks, as long as something
// remains: whoever pulls an image for one kind of machine saves it with an index that lists all kinds.
func (f *files) children(listed []descriptor, deep int) (all tree, refers []string, err error) {
	slices.SortStableFunc(listed, func(a, b descriptor) int { return rank(a.Platform) - rank(b.Platform) })
	var reasons []error
	for _, d := range listed {
		if rank(d.Platform) == unfit {
			reasons = append(reasons, fmt.Errorf("%s is for %s, and %w", d.Digest, d.Platform, errForeign))
			continue
		}
		t, err := f.tree(d, deep+1)
		if errors.Is(err, errMissing) || errors.Is(err, errForeign) {
			reasons = append(reasons, err)
			continue
		}
		if err != nil {
			return tree{}, nil, err
		}
		all.blobs = append(all.blobs, t.blobs...)
		all.variants = append(all.variants, t.variants...)
		refers = append(refers, d.Digest)
	}
	if len(all.variants) == 0 {
		return tree{}, nil, reasons[0] // why the fittest was left out
	}
	return all, refers, nil
}

// manifest reads the parts of one image.
func (f *files) manifest(about descriptor, layers []descriptor) (tree, error) {
	config, err := f.blob(about)
	if err != nil {
		return tree{}, err
	}
	ids, err := diffIDs(config)
	if err != nil {
		return tree{}, err
	}
	parts := make([]Blob, len(layers))
	for i, d := range layers {
		if parts[i], err = f.blob(d); err != nil {
			return tree{}, err
		}
	}
	return assemble(config, parts, ids)
}

// assemble puts a variant together, when its layers are those that its configuration knows.
func assemble(config Blob, layers []Blob, ids []string) (tree, error) {
	if len(layers) != len(ids) {
		return tree{}, fmt.Errorf("%s knows %d layers and has %d: it is no image of a container, or damaged", config.Digest, len(ids), len(layers))
	}
	for i, l := range layers {
		if layerType(l) == mediaLayer && l.Digest != ids[i] {
			return tree{}, fmt.Errorf("layer %d of %s is damaged: it is %s, not %s", i+1, config.Digest, l.Digest, ids[i])
		}
	}
	return tree{append(slices.Clone(layers), config), []Variant{{config, layers, ids}}}, nil
}

// diffIDs reads the configuration of an image that this machine can run.
func diffIDs(config Blob) ([]string, error) {
	var has struct {
		platform
		RootFS rootfs `json:"rootfs"`
	}
	if err := decode(config, "the configuration "+config.Digest, &has); err != nil {
		return nil, err
	}
	if has.Architecture != "" && rank(&has.platform) == unfit {
		return nil, fmt.Errorf("the image is for %s: it %w, which is linux/%s", &has.platform, errForeign, runtime.GOARCH)
	}
	return has.RootFS.DiffIDs, nil
}

// runs are the architectures whose programs a machine runs, its own first.
var runs = map[string][]string{"amd64": {"amd64", "386"}, "arm64": {"arm64", "arm"}}

// unfit is the rank of what this machine does not run.
const unfit = 1000

// rank orders platforms: what this machine runs best comes first. One that is not told is known by its configuration.
func rank(p *platform) int {
	if p == nil {
		return 0
	}
	own := runs[runtime.GOARCH]
	if own == nil {
		own = []string{runtime.GOARCH}
	}
	at := slices.Index(own, p.Architecture)
	if at < 0 || p.OS != "linux" && p.OS != "" {
		return unfit
	}
	if p.Variant != "" { // for newer processors, perhaps newer than this one
		return 2*at + 1
	}
	return 2 * at
}

func (p *platform) String() string {
	return strings.TrimSuffix(p.OS+"/"+p.Architecture+"/"+p.Variant, "/")
}

func digests(blobs []Blob) []string {
	out := make([]string, len(blobs))
	for i, b := range blobs {
		out[i] = b.Digest
	}
	return out
}
