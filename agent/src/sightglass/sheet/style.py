"""How the privacy officer's sheet looks: on paper (A4), on a desk and on a telephone."""

STYLE = """
@page { size: A4; margin: 16mm 14mm; }
* { box-sizing: border-box; }
body { font: 15px/1.45 system-ui, "DejaVu Sans", sans-serif; color: #1a1f24; background: #eef1f4; margin: 0; }
main { max-width: 62rem; margin: 0 auto; padding: 1.2rem; }
h1 { font-size: 1.5rem; margin: 0 0 .2rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .6rem; }
h3 { font-size: 1.05rem; margin: 0; } h4 { font-size: .95rem; margin: 1rem 0 .3rem; }
p { margin: .3rem 0; } ul { margin: .3rem 0; padding-left: 1.2rem; }
.lead, .dim { color: #55606b; } .small { font-size: .86rem; }
.box { background: #fff; border: 1px solid #d3d9df; border-radius: 6px; padding: .9rem 1.1rem; margin: .8rem 0; }
.good { border-left: 5px solid #2c7a4b; } .bad { border-left: 5px solid #b3261e; }
.head { display: flex; flex-wrap: wrap; gap: .2rem 1rem; justify-content: space-between; align-items: baseline;
  border-bottom: 1px solid #d3d9df; padding-bottom: .5rem; margin-bottom: .5rem; break-after: avoid; }
dl { display: grid; grid-template-columns: 9.5rem 1fr; gap: .25rem 1rem; margin: 0; }
dt { color: #55606b; } dd { margin: 0; }
dl, p, li, td { overflow-wrap: anywhere; } td.short { white-space: nowrap; }
td.long { min-width: 7rem; }
table { width: 100%; border-collapse: collapse; font-size: .9em; }
th { text-align: left; font-weight: 600; color: #55606b; border-bottom: 1px solid #d3d9df; }
th, td { padding: .3rem .6rem .3rem 0; vertical-align: top; } tr + tr td { border-top: 1px solid #edf0f2; }
tr, .keep { break-inside: avoid; }
.flag { display: inline-block; border: 1px solid #b3261e; color: #b3261e; border-radius: 3px; padding: 0 .35rem;
  font-size: .78rem; font-weight: 700; letter-spacing: .03em; white-space: nowrap; }
.site { color: #55606b; white-space: nowrap; } .utc { white-space: nowrap; } code { font-size: .86em; }
@media screen and (max-width: 40rem) {
  main { padding: .6rem; } .box { padding: .7rem .8rem; }
  dl { grid-template-columns: 1fr; gap: 0; } dt { margin-top: .45rem; font-size: .84rem; }
  table, tbody, tr, td { display: block; } thead { display: none; }
  tr + tr { border-top: 1px solid #d3d9df; margin-top: .5rem; padding-top: .5rem; }
  tr + tr td { border: 0; } td.short { white-space: normal; } td .utc, td .site { white-space: normal; }
  td { padding: .1rem 0 .1rem 8.2rem; min-height: 1.3rem; position: relative; }
  td::before { content: attr(data-label); position: absolute; left: 0; width: 7.8rem; color: #55606b; }
}
@media print {
  body { background: #fff; font-size: 10pt; } main { max-width: none; padding: 0; }
  td .site { display: block; }
}
"""
