"""How the page looks: light and dark by the reader's system, one column on a phone."""

from typing import Final

STYLE: Final = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #fff; --ink: #1b2430; --soft: #5a6675;
  --line: #dfe4ea; --track: #e9edf2; --good: #12805c; --bad: #b3382c; --unsure: #8a6d1a;
  --m1: #8794a5; --m2: #2563c9; --m3: #c97a16; --m4: #7d4cc2; --m5: #0f8f8f; --mark: #fff6dd; }
@media (prefers-color-scheme: dark) { :root { --page: #11161d; --card: #1a212b; --ink: #e4e9f0;
  --soft: #9aa7b6; --line: #2d3743; --track: #28313d; --good: #45c496; --bad: #f0796b; --unsure: #dab659;
  --m1: #75839a; --m2: #6ba1f7; --m3: #e5a14d; --m4: #b18df0; --m5: #4cc4c0; --mark: #3a3320; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 980px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 21px; line-height: 1.35; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 0 0 4px; }
h3 { font-size: 15px; margin: 18px 0 4px; overflow-wrap: anywhere; }
h4 { font-size: 14px; margin: 16px 0 4px; }
p { margin: 4px 0 8px; }
.soft { color: var(--soft); }
section { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 18px 20px;
  margin: 14px 0; }
.numbers { display: flex; flex-wrap: wrap; gap: 10px 34px; margin: 14px 0 4px; }
.numbers b { display: block; font-size: 30px; line-height: 1.2; font-variant-numeric: tabular-nums; }
.numbers span { color: var(--soft); font-size: 13px; }
.chip { display: inline-block; border-radius: 999px; padding: 2px 12px; font-weight: 600; font-size: 13px;
  border: 1px solid currentColor; }
.chip.good { color: var(--good); } .chip.bad { color: var(--bad); } .chip.unsure { color: var(--unsure); }
.warning { background: var(--mark); border-radius: 8px; padding: 8px 12px; margin: 10px 0 0; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 6px 0 10px; font-size: 13px; }
.legend i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 6px;
  vertical-align: -1px; }
.metric { display: grid; grid-template-columns: 170px 1fr; gap: 2px 16px; padding: 9px 0;
  border-top: 1px solid var(--line); align-items: start; }
.metric:first-of-type { border-top: 0; }
.metric > div:first-child { font-weight: 600; overflow-wrap: anywhere; }
.metric .soft { font-weight: 400; font-size: 13px; } td .soft { font-size: 12px; }
.wide .metric { grid-template-columns: 240px 1fr; }
.wide .row { grid-template-columns: minmax(80px, 1fr) 212px; }
.row { display: grid; grid-template-columns: minmax(80px, 1fr) 196px; gap: 12px; align-items: center; }
.row span { font-variant-numeric: tabular-nums; font-size: 13px; white-space: nowrap; }
svg { display: block; } svg .track { fill: var(--track); }
.model-1 { fill: var(--m1); background: var(--m1); } .model-2 { fill: var(--m2); background: var(--m2); }
.model-3 { fill: var(--m3); background: var(--m3); } .model-4 { fill: var(--m4); background: var(--m4); }
.model-5 { fill: var(--m5); background: var(--m5); }
.whisker { stroke: var(--ink); stroke-width: 1.5; } .axis { stroke: var(--soft); stroke-dasharray: 3 2; }
.better { fill: var(--good); } .worse { fill: var(--bad); } .unsure { fill: var(--unsure); }
.curve { fill: none !important; stroke-width: 2.5; stroke-linejoin: round; }
.curve.model-2 { stroke: var(--m2); } .curve.model-3 { stroke: var(--m3); }
.chart { width: 100%; height: auto; } .chart text { fill: var(--soft); font-size: 13px; }
.chart .grid { stroke: var(--line); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; margin: 6px 0; }
th, td { text-align: left; padding: 5px 14px 5px 0; border-bottom: 1px solid var(--line);
  vertical-align: top; } th { color: var(--soft); font-weight: 600; font-size: 13px; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; } td { white-space: nowrap; }
th { vertical-align: bottom; overflow-wrap: break-word; } th.number { min-width: 92px; }
code, pre { font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
details td { white-space: normal; } td code { overflow-wrap: anywhere; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; }
.case { border-top: 1px solid var(--line); padding: 12px 0 14px; }
.case .asked { margin: 2px 0 8px; white-space: pre-wrap; overflow-wrap: anywhere; }
.sides { display: grid; grid-template-columns: repeat(auto-fit, minmax(210px, 1fr)); gap: 10px; }
.sides > div { border: 1px solid var(--line); border-radius: 8px; padding: 8px 10px; min-width: 0; }
.sides h4 { margin: 0 0 4px; font-size: 12px; color: var(--soft); font-weight: 600; overflow-wrap: anywhere; }
.sides .hit { border-color: var(--good); } .sides .miss { border-color: var(--bad); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 18px; margin: 8px 0 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
details summary { cursor: pointer; font-weight: 600; font-size: 17px; }
@media (max-width: 640px) { main { padding: 14px 10px 40px; } section { padding: 14px 13px; }
  .metric, .wide .metric { grid-template-columns: 1fr; }
  .row, .wide .row { grid-template-columns: 1fr; gap: 0; padding-bottom: 4px; }
  .numbers b { font-size: 25px; } .chart text { font-size: 22px; } dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: 8px; } }
@media print { body { background: none; } section { break-inside: avoid; } }
"""
