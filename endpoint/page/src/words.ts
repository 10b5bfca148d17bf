// Every word of the page, in English and Chinese. The language is the browser's unless one is chosen.

const en = {
  title: "Where Bitcoin's hashrate is",
  subtitle: "By country, live, from the reports of mining pools, and how certain that is.",
  skip: "Skip to the table",
  loading: "Loading…",
  language: "中文",
  languageLabel: "Show this page in Chinese",
  simulated: "Simulated data.",
  simulatedMeans: "Some or all of these figures are made up. They say nothing about the real network.",
  stale: (age: string) => `These figures are old: the newest snapshot is from ${age}.`,
  away: "The service does not respond. What you see are the last figures that were received.",
  failed: (reason: string) => `The figures could not be read: ${reason}`,

  live: "Live",
  newest: (age: string) => `newest report ${age}`,
  asOf: (time: string) => `as of ${time}`,
  windowLegend: "Averaged over",
  windows: { now: "this minute", "1h": "1 hour", "24h": "24 hours", "7d": "7 days", "30d": "30 days" },
  measureLegend: "Colour by",
  measures: { share: "Share", hashrate: "EH/s", evidence: "Evidence" },
  measureMeans: {
    share: "Share of the located hashrate",
    hashrate: "Hashrate that is measured, declared or inferred there",
    evidence: "Part of the place's hashrate that is not assumed",
  },
  adjustLegend: "Corrections",
  adjusts: { published: "as published", none: "none" },
  priorLegend: "Assume the rest from",
  priors: { default: "the default", none: "nothing" },
  mapLegend: "Map",
  maps: { world: "World", CN: "Chinese provinces", US: "US states" },
  mapOf: (map: string) => `Map: ${map}`,
  mapHelp: "Choose a place for its details. The table below has the same figures.",
  back: "Back to the world",
  into: (name: string) => `Show the map of ${name}`,
  noData: "no figure",
  mostlyAssumed: "hatched: mostly assumed",
  noFigure: "no figure",
  borders: "Borders: Natural Earth, us-atlas, ECharts 4. They are drawn as those sources draw them.",
  beside: "Not on the map",
  unknown: "Unknown",
  unknownMeans: "of the seen hashrate has no place at all",
  zoomIn: "Nearer",
  zoomOut: "Farther",
  zoomAll: "Whole map",
  poolsHere: (names: string, more: string) => `Pools: ${names}${more === "0" ? "" : ` and ${more} more`}`,
  comma: ", ",

  headline: {
    seen: (coverage: string, pools: string) => `We see ${coverage} of the network in ${pools}.`,
    seenUnknown: (pools: string) => `We see ${pools}. How much of the network that is, is not known.`,
    pools: (n: number, text: string) => (n === 1 ? `${text} pool` : `${text} pools`),
    measured: (part: string) => `${part} of the network has a measured place`,
    declared: (part: string) => `${part} a declared one`,
    inferred: (part: string) => `${part} an inferred one`,
    rest: (source: string) => `the rest is assumed from ${source}`,
    restOfPools: (n: number) => `the rest is assumed from ${n === 1 ? "a published distribution of one pool" : `published distributions of ${n} pools`}`,
    restUnknown: "the rest has no place",
    and: ", ",
    gap: " ",
    end: ".",
    nothing: "Nothing counts in this period: no pool has enough reports.",
  },
  waitingTitle: "What the map is waiting for",
  waitingFor: "No pool has enough reports yet. A pool counts once half of the minutes of a period have a report.",

  time: "Time",
  play: "Play",
  pause: "Pause",
  steps: { hour: "hours", day: "days", month: "months" },
  stepLegend: "By",
  slider: "Period that is shown",
  chartTitle: "Shares over time",
  charts: { stacked: "stacked", lines: "lines" },
  chartLegend: "Chart",
  chartOf: (name: string) => `${name}: share, and what it could be`,
  coverage: "Coverage",
  evidence: "Evidence",
  others: "all others",
  bands: { possible: "possible range", declared: "range if the cited sources are right", belief: "over all priors" },
  chartHelp: "Click on a time to see it on the map; on a line or a name below to choose its place.",
  chartEmpty: "There are no figures in these periods.",
  chartTable: "The chart as a table",

  tableTitle: { world: "Shares by country", CN: "Shares of Chinese provinces", US: "Shares of US states" },
  caption: "Largest first. Choose a row for its details.",
  columns: {
    place: "Place",
    share: "Share",
    possible: "Possible range",
    declared: "If sources are right",
    without: "Without one pool",
    belief: "Other priors",
    kinds: "Kinds",
    hashrate: "Known hashrate",
  },
  kinds: { measured: "measured", declared: "declared", estimated: "inferred", prior: "assumed" },
  empty: "No place has a located hashrate in this period.",
  flags: {
    proxy_suspected:
      "Proxy suspected: this country is known for servers that forward traffic, and not for large mines.",
  } as Record<string, string>,
  flagShort: { proxy_suspected: "proxy suspected" } as Record<string, string>,

  detailTitle: "Chosen place",
  choose: "Choose a place on the map, in the chart or in the table.",
  clear: "Clear the choice",
  facts: {
    share: "Share",
    ofCountry: "Share of its country",
    possible: "Possible range",
    declared: "If the cited sources are right",
    belief: "Over all network priors",
    without: "Without any one pool",
    known: "Known hashrate",
    extrapolated: "Its share of the whole network",
    evidence: "Evidence",
  },
  whyTitle: "Which pools make up its share",
  whyNone: "No pool is located here.",
  whyChange: (window: string) => `Change against ${window}`,
  part: "Part of the share",
  notListed: "This place is not listed in this period: nothing is located there.",

  howTitle: "How sure this is",
  beliefsTitle: "What the cited sources placed",
  beliefsMeans: "Facts that others published, and distributions that are assumed where nothing else is known.",
  beliefsNone: "Nothing was placed by a belief.",
  source: "source",
  beliefSince: (day: string) => `since ${day}`,
  rules: "Corrections applied",
  excluded: "Excluded pools",
  reasons: { stale: "no recent report", thin: "too few reports", off: "no report" } as Record<string, string>,

  poolsTitle: "Pools",
  poolColumns: {
    pool: "Pool",
    state: "State",
    source: "Source and basis",
    age: "Newest report",
    hashrate: "Hashrate",
    mined: "Reported against mined",
    kinds: "Kinds",
  },
  states: { live: "live", stale: "stale", thin: "too few reports", off: "off" } as Record<string, string>,
  basis: { reported: "reported", relayed: "relayed", mined: "from blocks" },
  gap: (ratio: string, n: number, blocks: string) => `${ratio} (${blocks} ${n === 1 ? "block" : "blocks"})`,
  made: "simulated",
  refused: (reason: string) => `last reading refused: ${reason}`,

  swingsTitle: "Swings",
  swingsNone: "This version does not detect swings yet. They will be listed here with the pools that caused them.",

  takeTitle: "Take it along",
  csv: "CSV of the table",
  historyCsv: "CSV of the chart",
  png: (what: string) => `${what} as PNG`,
  svg: (what: string) => `${what} as SVG`,
  map: "Map",
  chart: "Chart",
  apiCall: "API call",
  python: "Python",
  cite: "Cite this",
  citation: (time: string, url: string) =>
    `Bitcoin mining map (miningmap, method 2), ${time}. ${url}. Licence: CC BY 4.0.`,
  citationLicence: "Figures of Cambridge's tables are under CC BY-NC-SA 4.0.",
  embed: "Embed",
  copy: "Copy",
  copied: "Copied",
  stamp: (source: string, time: string) => `${source} · ${time} · CC BY 4.0`,
  stampSimulated: "SIMULATED DATA",
  fullPage: "Open the whole page",

  readTitle: "How to read it",
  reading: [
    ["measured", "Measured", "the pool, or a partner of this map, reported where its miners are."],
    ["declared", "Declared", "a filing, an operator or a utility said so, dated and cited; nobody saw it live."],
    [
      "estimated",
      "Inferred",
      "derived from the server or account that the hashrate came through, or from where the pool's hashrate was measured in the last 30 days.",
    ],
    [
      "prior",
      "Assumed",
      "nothing says where it is, so it is distributed by a published distribution. It shows an assumption, not an observation, and is hatched.",
    ],
    ["", "Share", "a fraction of the located hashrate, not of the whole network. Coverage is the part of the network that is seen."],
    [
      "",
      "Possible range",
      "uses measured hashrate alone: wherever the rest is, the place's part of the network is in this range. A wide range means that little is measured.",
    ],
    ["", "If sources are right", "the same with declared hashrate too: it holds if the cited sources are right."],
    ["", "Without one pool", "the smallest and the largest share without any one pool. It is left out where most is assumed."],
    ["", "Other priors", "the smallest and the largest share over all published distributions of the network."],
    ["", "Known hashrate", "measured, declared or inferred there; what is assumed is not in it."],
  ] as [string, string, string][],
  /** Where the method explains the words above, in the same order. */
  readingAt: ["1-words", "1-words", "1-words", "1-words", "7-shares-and-coverage", "8-uncertainty", "8-uncertainty", "8-uncertainty", "8-uncertainty", "7-shares-and-coverage"],
  method: "The method explains every word and formula.",
  footer: { json: "These figures as JSON", method: "The method", api: "The API", metrics: "Metrics", beliefs: "All beliefs", notices: "Licences of parts" },
};

export type Words = typeof en;

const zh: Words = {
  title: "比特币算力在哪里",
  subtitle: "按国家/地区实时显示，数据来自矿池报告，并说明其确定程度。",
  skip: "跳到表格",
  loading: "加载中…",
  language: "English",
  languageLabel: "用英文显示本页",
  simulated: "模拟数据。",
  simulatedMeans: "部分或全部数字是虚构的，与真实网络无关。",
  stale: (age) => `数字已过时：最新快照生成于${age}。`,
  away: "服务没有响应。当前显示的是最后收到的数字。",
  failed: (reason) => `无法读取数字：${reason}`,

  live: "实时",
  newest: (age) => `最新报告：${age}`,
  asOf: (time) => `截至 ${time}`,
  windowLegend: "平均时段",
  windows: { now: "最近一分钟", "1h": "1 小时", "24h": "24 小时", "7d": "7 天", "30d": "30 天" },
  measureLegend: "颜色表示",
  measures: { share: "份额", hashrate: "EH/s", evidence: "证据" },
  measureMeans: {
    share: "在已定位算力中的份额",
    hashrate: "实测、申报或推断位于该地的算力",
    evidence: "该地算力中并非假设的部分",
  },
  adjustLegend: "修正",
  adjusts: { published: "按发布的修正", none: "不修正" },
  priorLegend: "其余部分的假设依据",
  priors: { default: "默认分布", none: "不作假设" },
  mapLegend: "地图",
  maps: { world: "世界", CN: "中国省份", US: "美国各州" },
  mapOf: (map) => `地图：${map}`,
  mapHelp: "选择一个地区查看详情。下面的表格有相同的数字。",
  back: "返回世界地图",
  into: (name) => `显示${name}地图`,
  noData: "无数字",
  mostlyAssumed: "斜线：大部分为假设",
  noFigure: "无数字",
  borders: "边界来自 Natural Earth、us-atlas 和 ECharts 4，按这些来源绘制。",
  beside: "地图之外",
  unknown: "未知",
  unknownMeans: "的已见算力完全没有位置信息",
  zoomIn: "放大",
  zoomOut: "缩小",
  zoomAll: "整幅地图",
  poolsHere: (names, more) => `矿池：${names}${more === "0" ? "" : `等，另有 ${more} 个`}`,
  comma: "、",

  headline: {
    seen: (coverage, pools) => `我们看到全网 ${coverage} 的算力，来自 ${pools}。`,
    seenUnknown: (pools) => `我们看到 ${pools}，但不知道占全网多少。`,
    pools: (_n, text) => `${text} 个矿池`,
    measured: (part) => `全网 ${part} 有实测位置`,
    declared: (part) => `${part} 有申报位置`,
    inferred: (part) => `${part} 有推断位置`,
    rest: (source) => `其余根据 ${source} 假设`,
    restOfPools: (n) => `其余根据 ${n} 个矿池的已发布分布假设`,
    restUnknown: "其余没有位置",
    and: "，",
    gap: "",
    end: "。",
    nothing: "该时段没有任何计入的数据：没有矿池有足够的报告。",
  },
  waitingTitle: "地图正在等待什么",
  waitingFor: "还没有矿池有足够的报告。一个时段中至少一半的分钟有报告，矿池才会计入。",

  time: "时间",
  play: "播放",
  pause: "暂停",
  steps: { hour: "小时", day: "天", month: "月" },
  stepLegend: "按",
  slider: "显示的时段",
  chartTitle: "份额的变化",
  charts: { stacked: "堆叠", lines: "折线" },
  chartLegend: "图表",
  chartOf: (name) => `${name}：份额及其可能范围`,
  coverage: "覆盖率",
  evidence: "证据",
  others: "其他所有地区",
  bands: { possible: "可能范围", declared: "若引用来源正确的范围", belief: "各先验分布的范围" },
  chartHelp: "点击某个时间可在地图上查看；点击折线或下方的名称可选择该地区。",
  chartEmpty: "这些时段没有数字。",
  chartTable: "图表的表格形式",

  tableTitle: { world: "各国家/地区的份额", CN: "中国各省的份额", US: "美国各州的份额" },
  caption: "从大到小。选择一行查看详情。",
  columns: {
    place: "地区",
    share: "份额",
    possible: "可能范围",
    declared: "若来源正确",
    without: "去掉一个矿池",
    belief: "其他先验",
    kinds: "种类",
    hashrate: "已知算力",
  },
  kinds: { measured: "实测", declared: "申报", estimated: "推断", prior: "假设" },
  empty: "该时段没有任何地区有已定位的算力。",
  flags: { proxy_suspected: "疑似代理：该地以转发流量的服务器而非大型矿场著称。" },
  flagShort: { proxy_suspected: "疑似代理" },

  detailTitle: "所选地区",
  choose: "请在地图、图表或表格中选择一个地区。",
  clear: "清除选择",
  facts: {
    share: "份额",
    ofCountry: "占所属国家的份额",
    possible: "可能范围",
    declared: "若引用来源正确",
    belief: "在各全网先验分布下",
    without: "去掉任意一个矿池",
    known: "已知算力",
    extrapolated: "按份额折算的全网算力",
    evidence: "证据",
  },
  whyTitle: "份额由哪些矿池构成",
  whyNone: "没有矿池位于此地。",
  whyChange: (window) => `与${window}相比的变化`,
  part: "在份额中的部分",
  notListed: "该时段未列出此地区：没有算力定位于此。",

  howTitle: "有多确定",
  beliefsTitle: "引用来源确定了哪些位置",
  beliefsMeans: "他人发布的事实，以及在别无所知时假设的分布。",
  beliefsNone: "没有算力是按引用来源定位的。",
  source: "来源",
  beliefSince: (day) => `自 ${day} 起`,
  rules: "已应用的修正",
  excluded: "未计入的矿池",
  reasons: { stale: "近期没有报告", thin: "报告太少", off: "没有报告" },

  poolsTitle: "矿池",
  poolColumns: {
    pool: "矿池",
    state: "状态",
    source: "来源与依据",
    age: "最新报告",
    hashrate: "算力",
    mined: "自报与出块对比",
    kinds: "种类",
  },
  states: { live: "正常", stale: "过时", thin: "报告太少", off: "停止" },
  basis: { reported: "自报", relayed: "转述", mined: "按出块计算" },
  gap: (ratio, _n, blocks) => `${ratio}（${blocks} 个区块）`,
  made: "模拟",
  refused: (reason) => `最近一次读数被拒绝：${reason}`,

  swingsTitle: "剧烈变动",
  swingsNone: "此版本尚不检测剧烈变动。以后会在此列出，并说明由哪些矿池引起。",

  takeTitle: "下载与引用",
  csv: "表格 CSV",
  historyCsv: "图表 CSV",
  png: (what) => `${what} PNG`,
  svg: (what) => `${what} SVG`,
  map: "地图",
  chart: "图表",
  apiCall: "API 调用",
  python: "Python",
  cite: "引用",
  citation: (time, url) => `比特币挖矿地图（miningmap，方法第 2 版），${time}。${url}。许可：CC BY 4.0。`,
  citationLicence: "剑桥数据表的数字采用 CC BY-NC-SA 4.0 许可。",
  embed: "嵌入",
  copy: "复制",
  copied: "已复制",
  stamp: (source, time) => `${source} · ${time} · CC BY 4.0`,
  stampSimulated: "模拟数据",
  fullPage: "打开完整页面",

  readTitle: "如何阅读",
  reading: [
    ["measured", "实测", "矿池或本地图的合作方报告了矿机的位置。"],
    ["declared", "申报", "由公司公告、运营商或电力公司说明，有日期和出处；没有人实时看到。"],
    ["estimated", "推断", "根据算力接入的服务器或账户推断，或根据该矿池最近 30 天的实测位置推断。"],
    ["prior", "假设", "没有任何信息说明其位置，因此按已发布的分布来分配。这是假设而不是观察，以斜线表示。"],
    ["", "份额", "在已定位算力中的比例，而非全网的比例。覆盖率是所见的全网部分。"],
    ["", "可能范围", "只用实测算力：无论其余算力在哪里，该地占全网的比例都在此范围内。范围宽说明实测很少。"],
    ["", "若来源正确", "同上，但也使用申报的算力：如果引用的来源正确，它就成立。"],
    ["", "去掉一个矿池", "去掉任意一个矿池后的最小和最大份额。大部分为假设时不显示。"],
    ["", "其他先验", "在所有已发布的全网分布下的最小和最大份额。"],
    ["", "已知算力", "实测、申报或推断位于该地的算力，不含假设部分。"],
  ],
  readingAt: en.readingAt,
  method: "方法文档解释每个词和公式。",
  footer: { json: "这些数字的 JSON", method: "方法（英文）", api: "API", metrics: "指标", beliefs: "全部引用来源", notices: "组件许可" },
};

/** The names of Chinese provinces and US states in Chinese; the API has them in English. */
const SUBDIVISIONS_ZH: Record<string, string> = {
  "CN-AH": "安徽", "CN-BJ": "北京", "CN-CQ": "重庆", "CN-FJ": "福建", "CN-GD": "广东", "CN-GS": "甘肃",
  "CN-GX": "广西", "CN-GZ": "贵州", "CN-HA": "河南", "CN-HB": "湖北", "CN-HE": "河北", "CN-HI": "海南",
  "CN-HL": "黑龙江", "CN-HN": "湖南", "CN-JL": "吉林", "CN-JS": "江苏", "CN-JX": "江西", "CN-LN": "辽宁",
  "CN-NM": "内蒙古", "CN-NX": "宁夏", "CN-QH": "青海", "CN-SC": "四川", "CN-SD": "山东", "CN-SH": "上海",
  "CN-SN": "陕西", "CN-SX": "山西", "CN-TJ": "天津", "CN-XJ": "新疆", "CN-XZ": "西藏", "CN-YN": "云南",
  "CN-ZJ": "浙江", "CN-OTHER": "中国其他地区",
  "US-AL": "亚拉巴马州", "US-AK": "阿拉斯加州", "US-AZ": "亚利桑那州", "US-AR": "阿肯色州", "US-CA": "加利福尼亚州",
  "US-CO": "科罗拉多州", "US-CT": "康涅狄格州", "US-DE": "特拉华州", "US-DC": "哥伦比亚特区", "US-FL": "佛罗里达州",
  "US-GA": "佐治亚州", "US-HI": "夏威夷州", "US-ID": "爱达荷州", "US-IL": "伊利诺伊州", "US-IN": "印第安纳州",
  "US-IA": "艾奥瓦州", "US-KS": "堪萨斯州", "US-KY": "肯塔基州", "US-LA": "路易斯安那州", "US-ME": "缅因州",
  "US-MD": "马里兰州", "US-MA": "马萨诸塞州", "US-MI": "密歇根州", "US-MN": "明尼苏达州", "US-MS": "密西西比州",
  "US-MO": "密苏里州", "US-MT": "蒙大拿州", "US-NE": "内布拉斯加州", "US-NV": "内华达州", "US-NH": "新罕布什尔州",
  "US-NJ": "新泽西州", "US-NM": "新墨西哥州", "US-NY": "纽约州", "US-NC": "北卡罗来纳州", "US-ND": "北达科他州",
  "US-OH": "俄亥俄州", "US-OK": "俄克拉何马州", "US-OR": "俄勒冈州", "US-PA": "宾夕法尼亚州", "US-RI": "罗得岛州",
  "US-SC": "南卡罗来纳州", "US-SD": "南达科他州", "US-TN": "田纳西州", "US-TX": "得克萨斯州", "US-UT": "犹他州",
  "US-VT": "佛蒙特州", "US-VA": "弗吉尼亚州", "US-WA": "华盛顿州", "US-WV": "西弗吉尼亚州", "US-WI": "威斯康星州",
  "US-WY": "怀俄明州", "US-OTHER": "美国其他地区",
  OTHER: "其他国家/地区",
};

const SUBDIVISIONS_EN: Record<string, string> = {
  OTHER: "Other countries",
  "CN-OTHER": "Other provinces of China",
  "US-OTHER": "Other states of the US",
};

// --- the language --------------------------------------------------------------------------------

export type Language = "en" | "zh";

function preferred(): Language {
  const asked = new URLSearchParams(location.search).get("lang");
  if (asked === "en" || asked === "zh") return asked;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

let chosen: Language = preferred();

export function language(): Language {
  return chosen;
}

export function words(): Words {
  return chosen === "zh" ? zh : en;
}

/** The address of this page in the other language. */
export function otherLanguage(): string {
  const query = new URLSearchParams(location.search);
  query.set("lang", chosen === "zh" ? "en" : "zh");
  return `?${query.toString()}`;
}

export function setLanguage(language: Language): void {
  chosen = language;
}

/** A name that this file knows for a code that no browser does, or undefined. */
export function ownName(code: string): string | undefined {
  return (chosen === "zh" ? SUBDIVISIONS_ZH : SUBDIVISIONS_EN)[code];
}
