"""Names of countries as the UN, ISO, the World Bank and databases of addresses print them."""

from __future__ import annotations

from typing import Final

_LINES: Final = """
AD | Principality of Andorra | AND
AE | ARE | UAE | United Arab Emirates (the) | the United Arab Emirates
AF | Islamic Republic of Afghanistan | AFG | Afghanistan *
AG | Antigua & Barbuda | ATG
AI | Anguilla | AIA
AL | Republic of Albania
AM | Republic of Armenia | ARM
AO | Republic of Angola
AR | Argentine Republic | ARG | ARGENTINA
AS | American Samoa | ASM
AT | Republic of Austria | AUT
AU | AUS | australia
AX | Åland Islands | Aland Islands | ALA
AZ | Republic of Azerbaijan
BA | Bosnia & Herzegovina | Bosnia-Herzegovina | Bosnia and Herzegovina | BIH
BB | BRB
BD | People's Republic of Bangladesh
BE | Kingdom of Belgium
BF | BFA
BG | Republic of Bulgaria
BH | Kingdom of Bahrain
BL | Saint Barthélemy | Saint Barthelemy | St. Barthélemy
BN | Brunei | Brunei Darussalam | BRN
BO | Bolivia (Plurinational State of) | Plurinational State of Bolivia
BO | Bolivia, Plurinational State of | BOL
BQ | Bonaire, Sint Eustatius and Saba | Bonaire, Sint Eustatius, and Saba | Caribbean Netherlands
BR | Federative Republic of Brazil | BRA
BS | Bahamas | The Bahamas | Bahamas (the) | Bahamas, The | Commonwealth of The Bahamas
BT | Kingdom of Bhutan
BW | Republic of Botswana
BY | Republic of Belarus | BLR
CC | Cocos (Keeling) Islands | Cocos (Keeling) Islands (the)
CD | Democratic Republic of the Congo | Congo (the Democratic Republic of the)
CD | Congo, Democratic Republic of the | Congo, The Democratic Republic of the | DR Congo
CD | Dem. Rep. of the Congo | Congo, Dem. Rep. | COD | DRC | Congo (Kinshasa)
CF | Central African Republic (the) | Central African Rep. | CAF
CG | Congo | Congo (the) | Republic of the Congo | Congo Republic | Congo, Rep. | COG
CG | Congo-Brazzaville
CH | Swiss Confederation | CHE
CI | Côte d'Ivoire | Cote d'Ivoire | Côte d\u2019Ivoire | CÔTE D'IVOIRE | Ivory Coast
CI | Republic of Côte d'Ivoire | Cote d`Ivoire | CIV
CK | Cook Islands | Cook Islands (the)
CL | Republic of Chile
CM | Republic of Cameroon
CN | People's Republic of China | People\u2019s Republic of China | China, People's Republic of
CN | China (People's Republic of) | Peoples Republic of China | China (mainland) | Mainland China
CN | China, mainland | PRC | P.R. China | CHN | China ¹ | China [1]
CO | Republic of Colombia
CR | Republic of Costa Rica
CU | Republic of Cuba
CV | Cabo Verde | Cape Verde | Republic of Cabo Verde
CW | Curaçao | Curacao | CURAÇAO
CX | Christmas Island
CY | Republic of Cyprus
CZ | Czechia | Czech Republic | Czechia (Czech Republic) | The Czech Republic | CZE
DE | Federal Republic of Germany | Germany * | Germany* | Germany** | Germany † | DEU | germany
DJ | Republic of Djibouti
DK | Kingdom of Denmark
DM | Commonwealth of Dominica
DO | Dominican Republic (the) | Dominican Rep. | DOM
DZ | People's Democratic Republic of Algeria | DZA
EC | Republic of Ecuador
EE | Republic of Estonia
EG | Arab Republic of Egypt | Egypt, Arab Rep. | Egypt (Arab Republic of) | EGY
EH | Western Sahara | Western Sahara*
ER | State of Eritrea | the State of Eritrea
ES | Kingdom of Spain | ESP
ET | Federal Democratic Republic of Ethiopia | ETH
FI | Republic of Finland
FJ | Republic of Fiji
FK | Falkland Islands (Malvinas) | Falkland Islands | Falkland Islands (the) [Malvinas] | FLK
FM | Micronesia (Federated States of) | Federated States of Micronesia
FM | Micronesia, Federated States of | Micronesia, Fed. Sts. | Micronesia | FSM
FO | Faroe Islands | Faeroe Islands | Faroe Islands (the)
FR | French Republic | FRA
GA | Gabonese Republic
GB | United Kingdom of Great Britain and Northern Ireland
GB | United Kingdom of Great Britain and Northern Ireland (the) | United Kingdom | UNITED KINGDOM
GB | Great Britain | UK | GBR | U.K.
GE | GEO | Georgia
GF | French Guiana
GG | Guernsey
GH | Republic of Ghana
GM | Gambia | The Gambia | Gambia (the) | Gambia, The | Gambia (Republic of The)
GM | Republic of the Gambia
GN | Republic of Guinea
GP | Guadeloupe
GQ | Republic of Equatorial Guinea
GR | Hellenic Republic | GRC
GS | South Georgia and the South Sandwich Islands | South Georgia and South Sandwich Islands
GW | Guinea-Bissau | Guinea Bissau | Republic of Guinea-Bissau
GY | Co-operative Republic of Guyana | Guyana
HK | Hong Kong | China, Hong Kong Special Administrative Region | China, Hong Kong SAR
HK | Hong Kong SAR, China | Hong Kong SAR | Hong Kong Special Administrative Region of China
HK | Hong Kong (China) | China (Hong Kong) | HKG
HM | Heard Island and McDonald Islands | Heard and McDonald Islands
HR | Republic of Croatia
HU | HUN
ID | Republic of Indonesia
IE | Ireland * | Ireland* | IRL | Republic of Ireland | Ireland (Republic of)
IL | State of Israel
IM | Isle of Man
IN | Republic of India
IO | British Indian Ocean Territory | British Indian Ocean Territory (the)
IQ | Republic of Iraq | IRQ
IR | Iran (Islamic Republic of) | Iran, Islamic Republic of | Islamic Republic of Iran
IR | Iran, Islamic Rep. | Iran (Islamic Rep. of) | Iran | IRN | IRAN (ISLAMIC REPUBLIC OF)
IS | Republic of Iceland
IT | Italian Republic
JE | Jersey
JO | Hashemite Kingdom of Jordan | The Hashemite Kingdom of Jordan
JP | JPN
KE | Republic of Kenya
KG | Kyrgyz Republic | Kyrgyzstan | KGZ
KH | Kingdom of Cambodia
KI | Republic of Kiribati
KM | Union of the Comoros | Comoros (the)
KN | Saint Kitts and Nevis | St Kitts and Nevis | St. Kitts and Nevis | St. Kitts & Nevis
KP | Democratic People's Republic of Korea | Korea (the Democratic People's Republic of)
KP | Dem. People's Republic of Korea | Korea, Dem. People's Rep.
KP | Korea, Democratic People's Republic of | North Korea | Korea, North | PRK | DPRK
KR | Republic of Korea | Korea (the Republic of) | Korea, Republic of | Korea, Rep.
KR | Korea (Republic of) | South Korea | Korea, South | KOR | ROK
KW | State of Kuwait
KY | Cayman Islands (the) | Cayman Islands
KZ | Republic of Kazakhstan | KAZ
LA | Lao People's Democratic Republic | Lao People\u2019s Democratic Republic
LA | Lao People's Democratic Republic (the) | Lao PDR | Laos | LAO | Lao People's Dem. Rep.
LB | Lebanese Republic
LC | Saint Lucia | St. Lucia | St Lucia
LI | Principality of Liechtenstein
LK | Democratic Socialist Republic of Sri Lanka
LS | Kingdom of Lesotho
LT | Republic of Lithuania
LU | Grand Duchy of Luxembourg
LV | Republic of Latvia
LY | Libya | Libyan Arab Jamahiriya | State of Libya
MA | Kingdom of Morocco
MC | Principality of Monaco
MD | Republic of Moldova | Moldova (Republic of) | Moldova (the Republic of)
MD | Moldova, Republic of | Moldova | MDA
MF | Saint Martin (French part) | Saint Martin (French Part) | St. Martin (French part)
MF | Saint Martin
MG | Republic of Madagascar
MH | Marshall Islands (the) | Republic of the Marshall Islands
MK | North Macedonia | Republic of North Macedonia | The former Yugoslav Republic of Macedonia
MK | Macedonia | Macedonia, FYR | MKD
ML | Republic of Mali
MM | Myanmar (Burma) | Burma | Republic of the Union of Myanmar | Myanmar | MMR
MN | MNG
MO | Macao | Macau | China, Macao Special Administrative Region | China, Macao SAR
MO | Macao SAR, China | Macau SAR
MP | Northern Mariana Islands (the) | Commonwealth of the Northern Mariana Islands
MR | Islamic Republic of Mauritania
MU | Republic of Mauritius
MX | United Mexican States | MEX
MY | MYS
MZ | Republic of Mozambique
NA | Republic of Namibia | NAM
NE | Niger (the) | Republic of the Niger | NER
NG | Federal Republic of Nigeria | NGA
NL | Netherlands (Kingdom of the) | Netherlands (the) | The Netherlands
NL | Netherlands, Kingdom of the | Kingdom of the Netherlands | NLD
NO | Kingdom of Norway | NOR
NP | Federal Democratic Republic of Nepal
NR | Republic of Nauru
NZ | NZL
OM | Sultanate of Oman | OMN
PE | Republic of Peru
PG | Independent State of Papua New Guinea
PH | Philippines (the) | Republic of the Philippines | PHL
PK | Islamic Republic of Pakistan
PL | Republic of Poland
PM | Saint Pierre and Miquelon | St. Pierre and Miquelon | St Pierre & Miquelon
PN | Pitcairn | Pitcairn Islands
PR | Puerto Rico | Puerto Rico (US) | Puerto Rico (U.S.)
PS | State of Palestine | Palestine, State of | Palestine | Palestinian Territory
PS | West Bank and Gaza | PSE
PT | Portuguese Republic
PY | Republic of Paraguay | PRY
QA | State of Qatar
RE | Réunion | Reunion | La Réunion
RO | ROU
RS | Republic of Serbia | Serbia 7/ | SRB
RU | Russian Federation | Russian Federation (the) | Russia | RUS | RUSSIAN FEDERATION
RU | Russian Fed.
RW | Rwandese Republic
SA | Kingdom of Saudi Arabia
SB | Solomon Islands
SC | Republic of Seychelles
SD | Sudan (the) | Republic of the Sudan | SDN
SH | Saint Helena | Saint Helena, Ascension and Tristan da Cunha | St Helena
SI | Republic of Slovenia
SJ | Svalbard and Jan Mayen | Svalbard and Jan Mayen Islands
SK | Slovak Republic | Slovakia | SVK
SM | Republic of San Marino
SO | Somalia, Fed. Rep. | Federal Republic of Somalia | Somalia
SR | Republic of Suriname
SS | Republic of South Sudan | South Sudan | SSD
ST | São Tomé and Príncipe | Sao Tome and Principe | São Tomé & Príncipe
SV | Republic of El Salvador
SX | Sint Maarten (Dutch part) | Sint Maarten | St Maarten
SY | Syrian Arab Republic | Syrian Arab Republic (the) | Syria | SYR
SZ | Eswatini | Swaziland | Eswatini (formerly Swaziland) | Kingdom of Eswatini
TC | Turks and Caicos Islands (the) | Turks & Caicos Islands
TD | Republic of Chad
TF | French Southern Territories | French Southern Territories (the)
TG | Togolese Republic
TH | Kingdom of Thailand
TJ | Republic of Tajikistan
TL | Timor-Leste | Timor Leste | East Timor | Democratic Republic of Timor-Leste
TM | TKM
TR | Türkiye | Turkiye | Turkey | TÜRKİYE | Republic of Türkiye | TUR | Türkiye (Turkey)
TT | Trinidad & Tobago | Republic of Trinidad and Tobago
TW | Taiwan | Taiwan (Province of China) | Taiwan, Province of China
TW | China, Taiwan Province of China | Taiwan, China | Taiwan Province of China | TWN
TZ | United Republic of Tanzania | Tanzania, United Republic of | Tanzania, the United Republic of
TZ | Tanzania (United Republic of) | Tanzania
UA | UKR
UM | United States Minor Outlying Islands | U.S. Minor Outlying Islands
UM | United States Minor Outlying Islands (the)
US | United States of America | United States of America (the) | The United States | USA | U.S.A.
US | United States (USA) | UNITED STATES OF AMERICA | United States *
UY | Eastern Republic of Uruguay
UZ | Republic of Uzbekistan
VA | Holy See | Holy See (the) | Vatican City | Holy See (Vatican City State) | VAT
VC | Saint Vincent and the Grenadines | St. Vincent and the Grenadines | St Vincent and Grenadines
VE | Venezuela (Bolivarian Republic of) | Bolivarian Republic of Venezuela | Venezuela, RB
VE | Venezuela, Bolivarian Republic of | Venezuela | VEN
VG | British Virgin Islands | Virgin Islands (British) | Virgin Islands, British
VI | United States Virgin Islands | U.S. Virgin Islands | Virgin Islands (U.S.)
VI | Virgin Islands, U.S. | US Virgin Islands | VIR
VN | Viet Nam | Vietnam | Socialist Republic of Viet Nam | VNM
VU | Republic of Vanuatu
WF | Wallis and Futuna | Wallis and Futuna Islands | Wallis & Futuna
WS | Independent State of Samoa | Samoa
XK | Kosovo | Kosovo (under UNSC res. 1244) | Republic of Kosovo | XKX
YE | Yemen, Rep. | Republic of Yemen | Yemen
YT | Mayotte
ZA | Republic of South Africa | ZAF
ZM | Republic of Zambia
ZW | Republic of Zimbabwe
"""

COUNTRY_NAMES: Final[tuple[tuple[str, str], ...]] = tuple(
    (name, code)
    for code, *names in (line.split(" | ") for line in _LINES.strip().splitlines())
    for name in names
)
"""Name and code, by ISO 3166-1."""
