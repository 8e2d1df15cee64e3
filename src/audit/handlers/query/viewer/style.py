"""How the viewer looks, in light and dark, from 320 px on."""

STYLE = """\
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --sheet: #ffffff; --ink: #1a1f26; --quiet: #56606b; --line: #d7dce2; --rule: #e9ecf0;
  --link: #0a58a8; --strong: #0a58a8; --on-strong: #ffffff; --hover: #f0f4f9; --field: #ffffff; --edge: #858f9b;
  --bad: #a3151d; --bad-page: #fdf0f0; --bad-line: #e8b4b7; --odd: #7a4100; --odd-page: #fff1d6;
  --create: #12632f; --create-page: #e3f4e8; --read: #41505f; --read-page: #ebeff3;
  --update: #704a00; --update-page: #fbf0d9; --delete: #9c1c1f; --delete-page: #fbe7e7;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0e1216; --sheet: #151a20; --ink: #e4e9ee; --quiet: #9aa6b2; --line: #2d353e; --rule: #232a32;
    --link: #7db8f7; --strong: #2f6fb3; --on-strong: #ffffff; --hover: #1b222a; --field: #0e1216; --edge: #6c7885;
    --bad: #ffb3b3; --bad-page: #2c1618; --bad-line: #6b2d31; --odd: #ffd08a; --odd-page: #33260f;
    --create: #8fdba8; --create-page: #12301d; --read: #b4c0cc; --read-page: #232b33;
    --update: #f0c987; --update-page: #35280e; --delete: #ffb0ae; --delete-page: #3a191b;
  }
}
* { box-sizing: border-box; }
html { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
body { margin: 0; background: var(--page); color: var(--ink); }
a { color: var(--link); text-underline-offset: 2px; }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; border-radius: 3px; }
main:focus, section:focus { outline: none; }
h1 { font-size: 1.45rem; line-height: 1.25; margin: 0 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 1.75rem 0 .6rem; }
code, pre, .value, .tree dt { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
code, pre { font-size: .87em; overflow-wrap: anywhere; }
.unseen { position: absolute; width: 1px; height: 1px; margin: -1px; overflow: hidden; clip-path: inset(50%); }
.skip { position: absolute; left: .75rem; top: -4rem; padding: .5rem .9rem; background: var(--sheet); z-index: 1; }
.skip:focus { top: .5rem; }
.quiet, .hint, .zone { color: var(--quiet); }
.top { display: flex; flex-wrap: wrap; align-items: center; gap: 0 2rem; padding: 0 max(1rem, calc(50vw - 41rem));
  background: var(--sheet); border-bottom: 1px solid var(--line); }
.who { margin: .75rem 0; overflow-wrap: anywhere; }
.brand { font-weight: 650; padding-right: .75rem; margin-right: .75rem; border-right: 1px solid var(--line); }
nav ul { display: flex; gap: 1.25rem; margin: 0; padding: 0; list-style: none; }
nav ul a { display: block; padding: .75rem 0 calc(.75rem - 2px); border-bottom: 2px solid transparent;
  color: var(--quiet);
  text-decoration: none; }
nav ul a:hover { color: var(--ink); }
nav ul a[aria-current] { color: var(--ink); border-color: var(--strong); font-weight: 600; }
main, footer { max-width: 84rem; margin: 0 auto; padding: 1.5rem 1rem; }
footer { padding-top: 0; color: var(--quiet); font-size: .87rem; }
.filters { display: grid; grid-template-columns: repeat(auto-fill, minmax(11.5rem, 1fr)); gap: .8rem 1rem;
  align-items: end; padding: 1rem;
  background: var(--sheet); border: 1px solid var(--line); border-radius: 8px; }
.field { min-width: 0; }
.field.text { grid-column: span 2; }
label { display: block; margin-bottom: .2rem; font-size: .87rem; font-weight: 600; }
.hint { font-weight: 400; }
input, select, button, .button { width: 100%; min-height: 2.35rem; padding: .35rem .6rem; font: inherit; color: inherit;
  background: var(--field); border: 1px solid var(--edge); border-radius: 5px; }
.from input, .to input { padding-inline: .45rem; font-size: .87em; }
button, .button { display: inline-block; width: auto; padding: .35rem 1.1rem; font-weight: 600; text-decoration: none;
  cursor: pointer; color: var(--on-strong); background: var(--strong); border-color: var(--strong); }
.plain { color: var(--ink); background: transparent; border-color: var(--edge); font-weight: 400; }
button:hover, .button:hover { filter: brightness(1.08); }
.plain:hover { background: var(--hover); filter: none; }
.acts { display: flex; flex-wrap: wrap; align-items: end; gap: .6rem; }
nav.acts { margin-top: 1rem; }
nav.acts:empty { display: none; }
#status { margin: 1.1rem 0 .5rem; color: var(--quiet); }
.alert { margin: 1rem 0; padding: .75rem 1rem; color: var(--bad); background: var(--bad-page);
  border: 1px solid var(--bad-line); border-radius: 6px; overflow-wrap: anywhere; }
.alert a { color: inherit; font-weight: 600; }
table { width: 100%; border-collapse: collapse; background: var(--sheet); border: 1px solid var(--line); }
th, td { padding: .42rem .75rem; text-align: start; vertical-align: top; overflow-wrap: anywhere; font-weight: 400; }
thead th { font-size: .8rem; font-weight: 600; color: var(--quiet); background: var(--page);
  border-bottom: 1px solid var(--line); }
tbody tr + tr { border-top: 1px solid var(--rule); }
tbody tr:hover { background: var(--hover); }
.when { white-space: nowrap; font-variant-numeric: tabular-nums; }
.when .zone, thead .zone { font-size: .8em; }
tbody th a { font-weight: 600; }
.mark { display: inline-block; margin-inline-start: .5rem; padding: 0 .45rem; font-size: .76rem; font-weight: 600;
  line-height: 1.5; border-radius: 4px; text-transform: capitalize; }
dd .mark { margin: 0; }
.create { color: var(--create); background: var(--create-page); }
.read { color: var(--read); background: var(--read-page); }
.update { color: var(--update); background: var(--update-page); }
.delete { color: var(--delete); background: var(--delete-page); }
.odd { padding: 0 .25em; font-size: .85em; color: var(--odd); background: var(--odd-page); border-radius: 3px; }
.number, thead .number { text-align: end; font-variant-numeric: tabular-nums; }
.unit { display: none; }
.state .button { padding: .1rem .8rem; min-height: 0; }
.pending { color: var(--quiet); }
.error { color: var(--bad); }
.htmx-request#results, .htmx-request.filters button { opacity: .55; }
.back { margin: 0 0 1rem; }
dl, dd, ol.tree { margin: 0; }
.about { display: grid; grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); gap: 1rem 1.5rem; padding: 1rem;
  background: var(--sheet); border: 1px solid var(--line); border-radius: 8px; }
.about div { min-width: 0; }
.about dt, .rows dt { font-size: .8rem; color: var(--quiet); }
.about dd { overflow-wrap: anywhere; }
.tree { padding: 0; }
main > .tree { padding: .5rem 1rem; background: var(--sheet); border: 1px solid var(--line); border-radius: 8px; }
dl.tree > div { display: grid; grid-template-columns: minmax(6rem, 13rem) minmax(0, 1fr); gap: 0 1rem;
  padding: .3rem 0; }
dl.tree > div + div { border-top: 1px solid var(--rule); }
.tree dt { color: var(--quiet); font-size: .87em; padding-top: .1em; overflow-wrap: anywhere; }
.tree dd { overflow-wrap: anywhere; min-width: 0; }
ol.tree { padding-inline-start: 2rem; }
ol.tree > li { padding: .2rem 0; }
.tree .text, pre { white-space: pre-wrap; }
.tree .none { color: var(--quiet); font-style: italic; }
summary { cursor: pointer; color: var(--quiet); font-size: .9rem; width: fit-content; }
.json { margin-top: 1rem; }
.json pre { margin: .5rem 0 0; padding: .75rem 1rem; background: var(--sheet); border: 1px solid var(--line);
  border-radius: 8px; }
.rows { padding: .25rem 1rem; background: var(--sheet); border: 1px solid var(--line); border-radius: 8px; }
.rows div { padding: .6rem 0; }
.rows div + div { border-top: 1px solid var(--rule); }
@media (max-width: 45rem) {
  .filters { grid-template-columns: 1fr 1fr; padding: .85rem; }
  .field.text { grid-column: 1 / -1; }
  .field .hint:not(.zone) { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .filters .acts { grid-column: 1 / -1; }
  .filters .acts > * { flex: 1; text-align: center; }
  table, tbody { display: block; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  tbody tr { display: grid; grid-template-columns: auto 1fr; gap: .1rem .9rem; padding: .7rem .85rem; }
  tbody th, tbody td { padding: 0; grid-column: 1 / -1; }
  tbody th { order: -1; }
  .events .when, .source { order: 1; grid-column: auto; }
  tbody td:empty { display: none; }
  .unit { display: inline; }
  tbody .number { text-align: start; }
  .what, .source, .events .when { color: var(--quiet); font-size: .92em; }
  dl.tree > div { grid-template-columns: 1fr; }
  ol.tree { padding-inline-start: 1.4rem; }
  .tree .tree { padding-inline-start: .6rem; border-inline-start: 1px solid var(--line); }
}
@media (prefers-reduced-motion: no-preference) {
  .button, button, #results { transition: opacity .12s, background-color .12s; }
}
@media (forced-colors: active) {
  .mark, .odd, .alert { border: 1px solid; }
}
"""
