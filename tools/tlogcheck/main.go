// Checks a folder that holds a transparency log, with nothing of cellwave's: only Go's own sumdb packages.
//
// usage: tlogcheck FOLDER VERIFIER-KEY [OLD-CHECKPOINT [WITNESS-KEY]]
package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

// tiles reads the tiles that a log serves; C2SP's paths leave out the height.
type tiles struct{ folder string }

func (t tiles) Height() int                     { return height }
func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}
func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range wanted {
		path := strings.Replace(tile.Path(), fmt.Sprintf("tile/%d/", height), "tile/", 1)
		content, err := os.ReadFile(filepath.Join(t.folder, path))
		if err != nil {
			return nil, err
		}
		found = append(found, content)
	}
	return found, nil
}

// cosigner is a witness to package note: what it signs begins with a time (C2SP tlog-cosignature).
type cosigner struct {
	name   string
	hash   uint32
	public ed25519.PublicKey
}

func (c cosigner) Name() string    { return c.name }
func (c cosigner) KeyHash() uint32 { return c.hash }
func (c cosigner) Verify(text, signature []byte) bool {
	if len(signature) != 8+ed25519.SignatureSize {
		return false
	}
	at := binary.BigEndian.Uint64(signature)
	signed := fmt.Sprintf("cosignature/v1\ntime %d\n%s", at, text)
	return ed25519.Verify(c.public, []byte(signed), signature[8:])
}

func newCosigner(key string) (note.Verifier, error) {
	parts := strings.SplitN(key, "+", 3)
	if len(parts) != 3 {
		return nil, errors.New("no key of a witness")
	}
	public, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(public) != 1+ed25519.PublicKeySize || public[0] != 4 {
		return nil, errors.New("no key of a witness")
	}
	sum := sha256.Sum256(append([]byte(parts[0]+"\n"), public...))
	return cosigner{parts[0], binary.BigEndian.Uint32(sum[:]), public[1:]}, nil
}

func open(file string, key string, witness string) (tlog.Tree, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return tlog.Tree{}, err
	}
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return tlog.Tree{}, err
	}
	verifiers := []note.Verifier{verifier}
	if witness != "" {
		other, err := newCosigner(witness)
		if err != nil {
			return tlog.Tree{}, err
		}
		verifiers = append(verifiers, other)
	}
	opened, err := note.Open(content, note.VerifierList(verifiers...))
	if err != nil {
		return tlog.Tree{}, err
	}
	if len(opened.Sigs) < len(verifiers) {
		return tlog.Tree{}, errors.New("not all of them have signed it")
	}
	lines := strings.SplitN(opened.Text, "\n", 2)
	if len(lines) < 2 {
		return tlog.Tree{}, errors.New("no checkpoint")
	}
	// tlog's own trees have another first line than an origin.
	return tlog.ParseTree([]byte("go.sum database tree\n" + lines[1]))
}

func check(folder, key, old, witness string) error {
	tree, err := open(filepath.Join(folder, "checkpoint"), key, witness)
	if err != nil {
		return err
	}
	reader := tlog.TileHashReader(tree, tiles{folder})
	for at := int64(0); at < tree.N; at++ {
		hash, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, at)})
		if err != nil {
			return err
		}
		proof, err := tlog.ProveRecord(tree.N, at, reader)
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, at, hash[0]); err != nil {
			return err
		}
	}
	if old != "" {
		before, err := open(old, key, "")
		if err != nil {
			return err
		}
		proof, err := tlog.ProveTree(tree.N, before.N, reader)
		if err != nil {
			return err
		}
		if err := tlog.CheckTree(proof, tree.N, tree.Hash, before.N, before.Hash); err != nil {
			return err
		}
	}
	fmt.Println(tree.N)
	return nil
}

func main() {
	arguments := append(os.Args[1:], "", "")
	if err := check(arguments[0], arguments[1], arguments[2], arguments[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
